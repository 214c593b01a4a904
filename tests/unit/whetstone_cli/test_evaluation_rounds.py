# SPDX-License-Identifier: Apache-2.0
"""What a round of evaluation asks of the nodes, in which order, and what is left when it breaks off."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from vla_interfaces.srv import EvaluatePolicy

from fakes.train_episodes import episode
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluation_rounds import plan_of, play_round
from whetstone_cli.cli.training_watch import LearnerReport
from whetstone_common.core.training_log import TrainingEpisode

BEGIN, END = EvaluatePolicy.Request.BEGIN, EvaluatePolicy.Request.END


class Graph:
    """Learner and steering as the command sees them; `served` is whether the weights of the round arrive."""

    def __init__(self, *, served: bool = True, refusal: str = "") -> None:
        self.asked: list[Any] = []
        self.served, self.refusal = served, refusal
        self.watch: Any = SimpleNamespace(learner=LearnerReport(version=4, accepted=3))

    def call(self, kind: type, service: str, request: Any, _timeout_s: float) -> Any:
        if kind is SetParameters:
            self.asked.append((service, request.parameters[0].name, request.parameters[0].value.bool_value))
            return SetParameters.Response(results=[SetParametersResult(successful=True)])
        self.asked.append((request.phase, request.successes, request.episodes))
        is_begun = request.phase == BEGIN
        accepted = 5 if self.served else 4
        self.watch.learner = LearnerReport(version=5, accepted=accepted, evaluating=is_begun, evaluations=not is_begun)
        return EvaluatePolicy.Response(success=not self.refusal, message=self.refusal)

    def spin_until(self, condition: Callable[[], bool], _timeout_s: float) -> bool:
        return condition()


def play(graph: Graph, played: list[TrainingEpisode | None]) -> None:
    play_round(graph, graph.watch, iter(played).__next__, len(played))  # type: ignore[arg-type]


def test_when_a_round_is_played_expect_no_exploration_in_it_and_help_to_count_as_a_failure() -> None:
    graph = Graph()
    play(graph, [episode(1), episode(2, human_steps=5), episode(3, "timed_out"), episode(4, "aborted"), None])
    explore = "steering_node/set_parameters", "explore"
    assert graph.asked == [(BEGIN, 0, 0), (*explore, False), (*explore, True), (END, 1, 3)]


def test_when_the_weights_do_not_reach_the_robot_expect_the_round_broken_off_and_exploration_as_before() -> None:
    graph = Graph(served=False)
    with pytest.raises(UserError, match="does not play version 5"):
        play(graph, [episode(1)])
    assert graph.asked[-2:] == [(END, 0, 0), ("steering_node/set_parameters", "explore", True)]


def test_when_the_learner_refuses_expect_its_reason_and_nothing_played() -> None:
    graph = Graph(refusal="there are no weights that could be evaluated")
    with pytest.raises(UserError, match="no weights that could be evaluated"):
        play(graph, [episode(1)])
    assert len(graph.asked) == 1


@pytest.mark.parametrize(("wrong", "named"), [({"every_min": -1.0}, "every_min is -1"), ({"episodes": 0}, "is 0")])
def test_when_rounds_cannot_be_expect_a_refusal(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        plan_of(**({"every_min": 0.0, "episodes": 8} | wrong))
