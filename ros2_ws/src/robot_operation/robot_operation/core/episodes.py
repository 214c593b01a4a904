# SPDX-License-Identifier: Apache-2.0
"""Episodes: what is planned, how it ended, and the sum over a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from whetstone_common.core.enums import Outcome

# Seeds travel as uint32.
SEED_BOUND = 2**32


@dataclass(frozen=True)
class EpisodePlan:
    """One episode to run.

    Attributes:
        task: Name of the task.
        seed: Of the scene and of the policy's noise.
        max_steps: Ticks before the episode has timed out.
        instruction: Given to the policy; empty means the task's own instruction.
        other_instruction: Give an instruction of another pair of the same scene; obeying it is no success.
        manual_reset: The operator resets the scene and marks it.
        evaluation: The policy by itself; nothing is learnt from it.
    """

    task: str
    seed: int
    max_steps: int
    instruction: str = ""
    other_instruction: bool = False
    manual_reset: bool = False
    evaluation: bool = False


@dataclass(frozen=True)
class EpisodeResult:
    """End of an episode.

    Attributes:
        outcome: How it ended.
        steps: Ticks from the start to the end.
        end_ns: ROS time of the end, 0 when unknown.
        source: Which detector ended it.
        reason: Why, where that is not obvious.
    """

    outcome: Outcome
    steps: int
    end_ns: int
    source: str
    reason: str = ""


@dataclass(frozen=True)
class EpisodeRecord:
    """One finished episode of a run."""

    plan: EpisodePlan
    result: EpisodeResult
    duration_s: float

    @property
    def success(self) -> bool:
        """Whether the task was done."""
        return self.result.outcome is Outcome.SUCCEEDED


@dataclass
class EpisodeRun:
    """Episodes of one goal, and when it makes no sense to go on."""

    plans: list[EpisodePlan]
    max_consecutive_aborts: int = 3
    records: list[EpisodeRecord] = field(default_factory=list)

    @property
    def successes(self) -> int:
        """Episodes that succeeded."""
        return sum(record.success for record in self.records)

    @property
    def hopeless(self) -> bool:
        """Whether the newest episodes were all aborted."""
        tail = self.records[-self.max_consecutive_aborts :]
        return len(tail) == self.max_consecutive_aborts and all(
            record.result.outcome is Outcome.ABORTED for record in tail
        )

    @property
    def next_plan(self) -> EpisodePlan | None:
        """The plan whose turn it is, None when the run is over."""
        done = len(self.records) >= len(self.plans) or self.hopeless
        return None if done else self.plans[len(self.records)]

    @property
    def message(self) -> str:
        """One line on how the run ended."""
        if self.hopeless:
            reason = self.records[-1].result.reason
            return f"gave up after {self.max_consecutive_aborts} aborted episodes in a row: {reason}"
        text = f"{self.successes} of {len(self.records)} succeeded"
        aborted = [record for record in self.records if record.result.outcome is Outcome.ABORTED]
        return f"{text}; {len(aborted)} aborted, the last: {aborted[-1].result.reason}" if aborted else text


def plans_of(
    *,
    task: str,
    episodes: int,
    first_seed: int,
    max_steps: int,
    instruction: str = "",
    other_instruction: bool = False,
    manual_reset: bool = False,
    evaluation: bool = False,
) -> list[EpisodePlan]:
    """Plans of a goal; episode i uses seed first_seed + i.

    Raises:
        ValueError: A count that makes no sense.
    """
    if episodes < 1 or max_steps < 1:
        raise ValueError(f"episodes = {episodes}, max_steps = {max_steps}: both must be at least 1")
    if first_seed + episodes > SEED_BOUND:
        last = first_seed + episodes - 1
        raise ValueError(f"the last seed would be {last}: allowed are 0..{SEED_BOUND - 1}; begin with a smaller one")
    return [
        EpisodePlan(task, first_seed + i, max_steps, instruction, other_instruction, manual_reset, evaluation)
        for i in range(episodes)
    ]
