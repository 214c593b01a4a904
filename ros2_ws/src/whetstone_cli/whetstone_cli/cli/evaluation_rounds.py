# SPDX-License-Identifier: Apache-2.0
"""Rounds of evaluation on the way of a run: the newest weights by themselves, judged by the learner's guard.

Without help and without exploration; no data of training, but robot time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from vla_interfaces.srv import EvaluatePolicy

from rl_learner.core.evaluation_plan import EvaluationPlan
from whetstone_cli.cli.client import Client
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.training_watch import LearnerReport, TrainingWatch
from whetstone_cli.core.training import evaluation_is_due
from whetstone_common.core.training_log import TrainingEpisode, success_alone

_ANSWER_S = 30.0
_PUBLISHED_S = 60.0  # until steering plays what the learner has published for the round


def plan_of(every_min: float, episodes: int) -> EvaluationPlan:
    """Plan of what a user has asked for.

    Raises:
        UserError: With value and range.
    """
    try:
        return EvaluationPlan(every_min, episodes)
    except ValueError as error:
        raise UserError(f"evaluate_{error}") from error


def round_is_due(plan: EvaluationPlan, episodes: Sequence[TrainingEpisode], *, at_end: bool) -> bool:
    """Whether a run that has learnt weights shall play a round now; at the end, when it has trained since the last."""
    if not plan.every_min or not episodes or episodes[-1].evaluation:
        return False
    return at_end or evaluation_is_due(episodes, plan.every_min)


def told(episodes: Sequence[TrainingEpisode], learner: LearnerReport) -> str:
    """The last round in words, with what it said of the weights."""
    points = success_alone(episodes)
    text = f"alone, after {points[-1].robot_min:.1f} min: {points[-1].rate}" if points else "no episode was judged"
    return "; ".join(filter(None, (text, learner.verdict, learner.guard)))


def play_round(client: Client, watch: TrainingWatch, episode: Callable[[], TrainingEpisode | None], count: int) -> None:
    """One round.

    Args:
        client: Of the stack.
        watch: Of the learner.
        episode: Plays one, and writes it down; None when it was not played.
        count: Episodes.

    Raises:
        UserError: It cannot begin; what plays is as before.
    """
    _tell(client, EvaluatePolicy.Request(phase=EvaluatePolicy.Request.BEGIN))
    try:
        _explore(client, explores=False)
        if not client.spin_until(lambda: _is_served(watch), _PUBLISHED_S):
            raise UserError(f"steering_node does not play version {watch.learner.version} after {_PUBLISHED_S:g} s")
        played = [made for made in (episode() for _ in range(count)) if made is not None and made.judged]
    except UserError:
        _tell(client, EvaluatePolicy.Request(phase=EvaluatePolicy.Request.END))
        _explore(client, explores=True)
        raise
    alone = sum(made.alone for made in played)
    _explore(client, explores=True)
    before = watch.learner.evaluations
    _tell(
        client, EvaluatePolicy.Request(phase=EvaluatePolicy.Request.END, successes=alone, episodes=len(played))
    )  # fmt: skip
    if played:
        client.spin_until(lambda: watch.learner.evaluations > before, _ANSWER_S)


def _is_served(watch: TrainingWatch) -> bool:
    learner = watch.learner
    return learner.evaluating and 0 < learner.version <= learner.accepted


def _tell(client: Client, request: EvaluatePolicy.Request) -> None:
    answer = client.call(EvaluatePolicy, "learner_node/evaluate_policy", request, _ANSWER_S)
    if not answer.success:
        raise UserError(f"learner_node refuses the evaluation: {answer.message}")


def _explore(client: Client, *, explores: bool) -> None:
    value = ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=explores)
    request = SetParameters.Request(parameters=[Parameter(name="explore", value=value)])
    (result,) = client.call(SetParameters, "steering_node/set_parameters", request, _ANSWER_S).results
    if not result.successful:
        raise UserError(f"steering_node refuses explore = {explores}: {result.reason}")
