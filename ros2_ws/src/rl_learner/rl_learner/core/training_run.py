# SPDX-License-Identifier: Apache-2.0
"""A training run without ROS and without a clock: transitions in, updates due, weights and checkpoints out.

What it becomes follows from the transitions, in their order, the method and the seed; with `max_pending_updates` of 0
from nothing else, however fast it is and however often it was stopped and resumed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from experience.core.ledger import ReceiveResult
from experience.core.transition import Transition
from rl_learner.core.checkpoint import Snapshot
from rl_learner.core.gradient_updates import GradientUpdates
from rl_learner.core.intake import RunStatistics
from rl_learner.core.policy_guard import PolicyGuard, Verdict
from rl_learner.core.receipts import SOLE, Receipts
from rl_learner.core.run_data import RunData, shape_in
from rl_learner.core.transition_intake import TransitionIntake
from rl_learner.core.update_budget import UpdateBudget
from rl_learner.core.update_failures import UpdateFailures
from rl_methods.base import Algorithm
from rl_methods.common.batch import WindowShape
from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.config import MethodConfig, differences

_CONFIRMED = "confirmed/"  # what the guard holds, among the tensors of a checkpoint


class Phase(Enum):
    """Where a run is."""

    COLLECT = "collect"  # the base plays, nothing is learnt
    WARM_UP = "warm_up"  # on what followed in those episodes
    ONLINE = "online"
    FINISHED = "finished"  # all control steps were used


@dataclass(frozen=True)
class RuntimeLimits:
    """What may be turned while it runs.

    Attributes:
        utd: Updates per control step; negative takes the method's.
        learning_rate: Of every network; 0 takes the method's.
        prior_share: Of a batch, from the prior data.
        max_pending_updates: Updates that may be due before the next transition is taken in; 0 takes each in only when
            none is.
        most_steps: Control steps in all; 0 takes the method's.
    """

    utd: float = -1.0
    learning_rate: float = 0.0
    prior_share: float = 0.5
    max_pending_updates: int = 2000
    most_steps: int = 0


class TrainingRun:
    """What a run has taken in, what it learns from that, what is still due, and what may play.

    Args:
        method: The method.
        shape: Of a window.
        seed: Of weights and draws.
        capacity: Windows of the replay.
        limits: May be exchanged at any time.
        contract_hash: Contract that all numbers are in.
        robots: Names of the robots that feed it.
        device: That the networks live on; the replay and everything that is stored or published are on the CPU.

    Attributes:
        intake: What was taken in: windows, receipts, counts.
        learning: The networks, and the updates of them.
        updates: Updates that are due.
        phase: Where the run is.
        guard: Whether the newest weights may play.
        problem: What was refused last.
    """

    def __init__(
        self,
        method: MethodConfig,
        shape: WindowShape,
        *,
        seed: int = 0,
        capacity: int = 100_000,
        limits: RuntimeLimits | None = None,
        contract_hash: str = "",
        robots: Sequence[str] = (SOLE,),
        device: torch.device | None = None,
    ) -> None:
        self.method, self.seed = method.for_shape(shape), seed
        self.limits = limits or RuntimeLimits()
        self.learning = GradientUpdates(method, shape, seed=seed, device=device or torch.device("cpu"))
        data = RunData(shape, capacity, self.learner.data_spec)
        self.intake = TransitionIntake(
            data, contract_hash=contract_hash, discount=method.schedule.discount, robots=robots
        )
        self.updates, self.phase = UpdateBudget(), Phase.COLLECT
        self.guard = PolicyGuard()
        self.problem = ""

    @property
    def learner(self) -> Algorithm:
        """The method's learner half."""
        return self.learning.learner

    @property
    def failures(self) -> UpdateFailures:
        """Updates that failed, and whether the learning has stopped."""
        return self.learning.failures

    @property
    def data(self) -> RunData:
        """What the run learns from."""
        return self.intake.data

    @property
    def receipts(self) -> Receipts:
        """Which transitions of each robot are in the replay."""
        return self.intake.receipts

    @property
    def tally(self) -> RunStatistics:
        """What they amount to."""
        return self.intake.tally

    # -- data -------------------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether the next transition may be taken in: a learner that is slow lets them wait where they are stored."""
        return self.failures.halt is not None or self.due <= self.limits.max_pending_updates

    def add(self, transition: Transition, spool: int, seq: int, robot: str = SOLE) -> ReceiveResult:
        """Takes a transition of a robot in, once; a bad one is counted, and never enters.

        Raises:
            ValueError: It is of another contract or spool; it does not count as received.
        """
        offer = self.intake.receive(transition, spool, seq, robot)
        if offer is ReceiveResult.NEW:
            self._accept(transition, robot)
        return offer

    def _accept(self, transition: Transition, robot: str) -> None:
        try:
            is_kept = self.intake.keep(transition, is_of_base=self.phase is Phase.COLLECT)
        except ValueError as error:
            self.problem = f"window refused: {error}"
            return
        fresh = self.tally.add(transition, robot)
        episode = self.tally.arriving[robot]
        # One that was cut short is finished as well, once the next begins; what came of it without help is not known.
        if self.phase is Phase.COLLECT and fresh and episode.is_whole:
            self.guard.on_base_episode(success=episode.succeeded_alone)
        if self.phase in (Phase.WARM_UP, Phase.ONLINE):
            self.updates.pending += self.utd * fresh * is_kept
        # Nobody waits for the episodes of other robots: one that has died would keep all from learning.
        if self.phase is Phase.COLLECT and episode.is_whole and self._has_collected:
            self._begin()
        self._maybe_finish()

    @property
    def _has_collected(self) -> bool:
        """Whether the base has played enough."""
        return self.tally.finished >= self.method.schedule.base_episodes and not self.lacks

    @property
    def lacks(self) -> str:
        """What learning waits for besides base episodes, empty for nothing."""
        return self.data.lacks(self.method.method)

    def _maybe_finish(self) -> None:
        if self.phase is Phase.ONLINE and self.tally.steps >= self.most_steps:
            self.phase = Phase.FINISHED

    def add_prior(self, transition: Transition) -> None:
        """Adds a transition of another run, which every batch has its share of.

        Raises:
            ValueError: It does not fit.
        """
        self.intake.add_prior(transition)

    def begin_with_prior(self) -> None:
        """Learn from the prior data before anything is played, where the method's schedule has no base episodes.

        Raises:
            ValueError: It has none, and there are no prior data.
        """
        if self.method.schedule.base_episodes > 0 or self.phase is not Phase.COLLECT:
            return
        if self.data.prior is None:
            raise ValueError(
                f"prior is empty, {self.method.method} learns from demonstrations before it plays anything: "
                "name a folder of them (whetstone prior makes one), or set base_episodes to at least 1"
            )
        self._begin()

    def _begin(self) -> None:
        self.learning.fit_scalers(self.data)
        self.phase, self.updates.warm_up_left = Phase.WARM_UP, self.method.schedule.warm_up_updates
        if self.updates.warm_up_left == 0:
            self.phase = Phase.ONLINE

    # -- learning ---------------------------------------------------------------------------------------------------

    @property
    def utd(self) -> float:
        """Updates per control step."""
        return self.limits.utd if self.limits.utd >= 0.0 else self.method.schedule.updates_per_step

    @property
    def most_steps(self) -> int:
        """Control steps in all."""
        return self.limits.most_steps or self.method.schedule.most_steps

    @property
    def status(self) -> str:
        """Phase, and what it waits for where base episodes alone do not end it."""
        is_late = self.phase is Phase.COLLECT and self.tally.finished >= self.method.schedule.base_episodes
        return f"{self.phase.value}: {self.lacks}" if is_late and self.lacks else self.phase.value

    @property
    def due(self) -> int:
        """Updates to do now."""
        return 0 if self.failures.halt else self.updates.due

    @property
    def ready(self) -> bool:
        """Whether there are weights that are worth playing."""
        return self.phase in (Phase.ONLINE, Phase.FINISHED) and self.failures.halt is None

    def weights_to_play(self) -> dict[str, Tensor]:
        """Copies of the newest weights, or of those that the guard puts in their place; none for the base."""
        return self.guard.playing(self.learner.policy_weights())

    def on_evaluation(self, successes: int, episodes: int, weights: Mapping[str, Tensor]) -> Verdict:
        """A round of episodes that weights played by themselves, without help and without exploration.

        Raises:
            ValueError: The counts cannot be.
        """
        return self.guard.on_evaluation(
            successes, episodes, weights, updates=self.learner.updates, steps=self.tally.steps
        )  # fmt: skip

    def learn(self) -> bool:
        """One update; returns whether it was applied. One that was refused is not due any more."""
        problem = self.learning.step(
            self.data, prior_share=self.limits.prior_share, learning_rate=self.limits.learning_rate,
            is_offline=self.updates.is_warm_up,
        )  # fmt: skip
        self.problem = problem or self.problem
        if self.updates.spend():
            self.phase = Phase.ONLINE
            self._maybe_finish()
        return self.learning.is_going_well

    # -- as a checkpoint ----------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Everything, as copies."""
        confirmed = {f"{_CONFIRMED}{name}": value for name, value in self.guard.tensors().items()}
        counts = {
            "pending_updates": self.updates.pending, "warm_up_left": self.updates.warm_up_left,
            "skipped": self.failures.skipped,
        }  # fmt: skip
        notes = {
            "config": self.config(),
            "contract_hash": self.intake.contract_hash,
            "shape": asdict(self.data.shape),
            "phase": self.phase.value,
            **self.intake.notes(),
            "counts": counts,
            "guard": self.guard.notes(),
        }
        learner = self.learning.state() | confirmed
        return Snapshot(self.learner.updates, learner, self.data.state(), json.loads(json.dumps(notes)))

    def config(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one before."""
        return {**self.method.resolved(), "seed": self.seed, "capacity": self.data.capacity}

    def restore(self, saved: Snapshot, *, allow_change: bool = False) -> list[str]:
        """Goes on from a checkpoint; returns what differs from its configuration.

        Args:
            saved: As `snapshot` made it.
            allow_change: Whether the configuration may differ.

        Raises:
            CheckpointError: It does not fit this session; the text says in what.
        """
        notes = saved.notes
        changed = differences(notes["config"], self.config())
        if changed and not allow_change:
            raise CheckpointError(f"the configuration differs from the checkpoint's: {'; '.join(changed)}")
        if notes["contract_hash"] != self.intake.contract_hash or shape_in(notes) != self.data.shape:
            raise CheckpointError("the checkpoint was made with another contract: features, horizon or scales differ")
        try:
            self._restore(saved.learner, saved.replays, notes)
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"the checkpoint does not fit: {error}") from error
        return changed

    def _restore(self, learner: Mapping[str, Tensor], replays: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        confirmed = {name: value for name, value in learner.items() if name.startswith(_CONFIRMED)}
        networks = {name: value for name, value in learner.items() if name not in confirmed}
        self.learning.restore(networks, skipped=notes["counts"]["skipped"])
        if "guard" in notes:  # checkpoints of earlier releases have none
            self.guard.restore({k.removeprefix(_CONFIRMED): v for k, v in confirmed.items()}, notes["guard"])
        self.intake.restore(replays, notes)
        self.phase = Phase(notes["phase"])
        self.updates = UpdateBudget(notes["counts"]["pending_updates"], notes["counts"]["warm_up_left"])
