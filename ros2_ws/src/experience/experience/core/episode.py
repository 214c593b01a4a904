# SPDX-License-Identifier: Apache-2.0
"""One episode: what has been received of it, what is missing, and the transitions it gives.

Legend: T steps of the episode, C steps of a window, H horizon of a chunk, J joints, A action dims.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from experience.core.actions import policy_actions
from experience.core.records import (
    Decision,
    Doubles,
    EpisodeEventKind,
    Event,
    Floats,
    StepRecord,
    StepReward,
    no_bytes,
)
from experience.core.transition import Transition
from experience.core.windows import (
    Labels,
    episode_labels,
    window,
    window_rows,
)
from whetstone_common.core.contract import Contract
from whetstone_common.core.enums import Actor, RequestKind

_NS_PER_S = 1e9


@dataclass(frozen=True)
class Rules:
    """How windows are cut.

    Attributes:
        window_steps: C, steps of a full window.
        keep_aborted: Whether an aborted episode gives the windows that end before the abort.
        lockstep: Whether the world waits for the arm, so that every step that was judged was executed.
    """

    window_steps: int
    keep_aborted: bool = False
    lockstep: bool = False

    def __post_init__(self) -> None:
        """Refuse what cuts no window.

        Raises:
            ValueError: A number is out of range.
        """
        if self.window_steps < 1:
            raise ValueError(f"window_steps is {self.window_steps}, must be at least 1")


@dataclass
class EpisodeRecords:
    """Everything received of one episode.

    Attributes:
        decisions: By request id.
        steps: By index within the episode.
        rewards: By number of steps executed.
        end: How it ended.
        estop_step: Steps executed when an e-stop was pressed.
        steps_done: No more steps can come.
    """

    epoch: int
    number: int
    decisions: dict[int, Decision] = field(default_factory=dict)
    steps: dict[int, StepRecord] = field(default_factory=dict)
    rewards: dict[int, StepReward] = field(default_factory=dict)
    end: Event | None = None
    started: bool = False
    estop_step: int | None = None
    steps_done: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """(epoch, episode)."""
        return self.epoch, self.number


class WaitPolicy(Enum):
    """How long an ended episode waits for what may still come."""

    NONE = "none"  # everything is there
    QUIET = "quiet"  # until nothing has come for a moment
    GRACE = "grace"  # until the grace is over


@dataclass(frozen=True)
class Missing:
    """What an ended episode lacks.

    Attributes:
        fatal: Without this the episode gives nothing, empty for nothing.
        wait: How long to wait for what would only make the transitions more.
    """

    fatal: str = ""
    wait: WaitPolicy = WaitPolicy.NONE


def missing_of(episode: EpisodeRecords, contracts: Mapping[str, Contract], rules: Rules) -> Missing:
    """What an ended episode lacks."""
    end = episode.end
    assert end is not None  # noqa: S101 - the caller has checked
    is_short = len(episode.steps) < end.steps and end.outcome is not EpisodeEventKind.ABORTED
    if sorted(episode.steps) != list(range(len(episode.steps))) or (is_short and (rules.lockstep or not episode.steps)):
        return Missing(fatal="missing steps")
    if end.outcome is not EpisodeEventKind.ABORTED and not episode.rewards:
        return Missing(fatal="missing reward")
    if any(d.contract_hash not in contracts for d in episode.decisions.values()):
        return Missing(fatal="unknown contract")
    # In real time the world does not wait for the arm, so the judge counts more steps than were executed; a last one
    # may still be under way.
    if (is_short and not episode.steps_done) or not _played(episode) <= set(episode.decisions):
        return Missing(wait=WaitPolicy.GRACE)
    # Nobody says how many query-only requests are under way.
    has_queries = any(d.request_kind is RequestKind.QUERY_ONLY for d in episode.decisions.values())
    return Missing(wait=WaitPolicy.QUIET if has_queries or end.outcome is EpisodeEventKind.ABORTED else WaitPolicy.NONE)


def has_other_instruction(episode: EpisodeRecords) -> bool:
    """Whether a decision followed another instruction than that of the ended episode."""
    said = episode.end.instruction if episode.end else ""
    return bool(said) and any(decision.instruction != said for decision in episode.decisions.values())


def _played(episode: EpisodeRecords) -> set[int]:
    """Request ids of the chunks that played."""
    return {step.stamp.request_id for step in episode.steps.values() if step.actor is Actor.POLICY}


@dataclass(frozen=True, eq=False)
class _Track:
    """The executed part of an episode as arrays.

    Attributes:
        times_ns: (T,) when each step began.
        commands: (T, J + 1).
        targets: (T, 7).
        actors: (T,).
        labels: Rewards, masks, ends.
        last_played: Request id of the chunk that the last step belongs to, None when a human or nobody acted.
    """

    times_ns: np.ndarray
    commands: Doubles
    targets: Doubles
    actors: np.ndarray
    labels: Labels
    last_played: int | None


def build(
    episode: EpisodeRecords, rules: Rules, contracts: Mapping[str, Contract]
) -> tuple[list[Transition], Counter[str]]:
    """Transitions of an ended episode in the order of their starts, and what gave none, by reason.

    A window runs from a decision to the newest decision at most C steps later, or to the end of the episode when that
    comes first; so C is what `Transition.steps` says, and the last step of a window is the only one that may end the
    episode.
    """
    unused: Counter[str] = Counter()
    track = _track(episode, rules)
    if track is None:
        return [], unused
    starts = _starts(episode, track, contracts, unused)
    ordered = sorted(starts)
    transitions = []
    for i in ordered:
        contract = contracts[starts[i].contract_hash]
        end = _window_end(i, ordered, len(track.actors), rules.window_steps, contract.horizon)
        is_over = end == len(track.actors)
        if end == i or (is_over and end not in starts and track.labels.masks[-1] > 0.0):
            unused["windows without a next decision"] += 1
            continue
        transitions.append(_transition(episode, track, starts[i], None if is_over else starts[end], (i, end), contract))
    return transitions, unused


def _track(episode: EpisodeRecords, rules: Rules) -> _Track | None:
    end = episode.end
    assert end is not None  # noqa: S101 - the caller has checked
    steps = [episode.steps[i] for i in range(len(episode.steps))]
    # What was executed after the end does not count. In lockstep the judge counts the arm's own steps; in real time
    # it counts the world's, and the arm goes on until it is stopped, so the moment decides.
    by_count = rules.lockstep or not end.time_ns
    steps = steps[: end.steps] if by_count else [s for s in steps if s.time_ns < end.time_ns]
    if not steps:
        return None
    rewards = np.zeros(len(steps))
    for judgement in episode.rewards.values():
        rewards[min(max(judgement.steps - 1, 0), len(steps) - 1)] += judgement.reward
    labels = episode_labels(rewards, end.outcome)
    return _Track(
        times_ns=np.array([s.time_ns for s in steps], dtype=np.int64),
        commands=np.array([s.joint_command for s in steps]),
        targets=np.array([s.tcp_target for s in steps]),
        actors=np.array([int(s.actor) for s in steps], dtype=np.uint8),
        labels=labels,
        last_played=steps[-1].stamp.request_id if steps[-1].actor is Actor.POLICY else None,
    )


def _starts(
    episode: EpisodeRecords, track: _Track, contracts: Mapping[str, Contract], unused: Counter[str]
) -> dict[int, Decision]:
    """Step at which each decision's chunk begins; of two at one step, the one that was meant to be executed."""
    played = {
        step.stamp.request_id: step.episode_step - step.step
        for step in sorted(episode.steps.values(), key=lambda s: -s.episode_step)
        if step.actor is Actor.POLICY
    }
    starts: dict[int, Decision] = {}
    for request_id in sorted(episode.decisions):
        decision = episode.decisions[request_id]
        dt_s = contracts[decision.contract_hash].dt_s
        start = played.get(request_id, _nearest(track.times_ns, decision.stamp.observation_ns, dt_s))
        if not 0 <= start < len(track.actors):
            unused["decisions without a step"] += 1
            continue
        if start in starts:
            unused["decisions at the same step"] += 1
        if (
            start not in starts
            or decision.request_kind is RequestKind.ACT
            or starts[start].request_kind is RequestKind.QUERY_ONLY
        ):
            starts[start] = decision
    return starts


def _nearest(times_ns: np.ndarray, observation_ns: int, dt_s: float) -> int:
    """Step that began nearest to an observation, -1 when none did within half a step."""
    distances = np.abs(times_ns - observation_ns)
    nearest = int(distances.argmin())
    return nearest if distances[nearest] <= 0.5 * dt_s * _NS_PER_S else -1


def _window_end(i: int, starts: list[int], total: int, window_steps: int, horizon: int) -> int:
    """Step behind a window that starts at `i`; `i` itself when there is none that the chunk reaches."""
    if i + window_steps >= total:
        return total
    within = [j for j in starts if i < j <= i + window_steps]
    if within:
        return within[-1]
    beyond = [j for j in starts if i + window_steps < j <= i + horizon]
    if beyond:
        return beyond[0]
    return total if total <= i + horizon else i


def _transition(
    episode: EpisodeRecords,
    track: _Track,
    first: Decision,
    following: Decision | None,
    span: tuple[int, int],
    contract: Contract,
) -> Transition:
    start, end = span
    label = window(track.labels, start, end - start)
    later = track.labels.rewards[end : _next_takeover(track.actors, end)]
    empty = np.zeros(0, dtype=np.float32)
    no_chunks = np.zeros((0, *first.candidates.shape[1:]), dtype=np.float32)
    outcome = episode.end.outcome if episode.end else EpisodeEventKind.ABORTED
    return Transition(
        epoch=episode.epoch,
        episode=episode.number,
        request_id=first.stamp.request_id,
        request_kind=int(first.request_kind),
        episode_step=start,
        episode_steps=len(track.actors),
        outcome=int(outcome),
        task=episode.end.task if episode.end else "",
        instruction=first.instruction,
        contract_hash=first.contract_hash,
        method=first.method,
        rewards=label.rewards.astype(np.float32),
        later_rewards=later.astype(np.float32),
        mask=label.mask,
        rejected_by_human=first.request_kind is RequestKind.ACT and _next_takeover(track.actors, start) < end,
        valid=label.valid,
        features=first.features,
        proprio=first.proprio,
        chosen_chunk=first.chosen_chunk,
        actions=_actions(track, first, contract, start),
        actors=track.actors[start:end],
        candidates=first.candidates,
        noise=first.noise,
        chosen=first.chosen,
        kind=first.kind,
        next_features=following.features if following else empty,
        next_proprio=following.proprio if following else empty,
        next_candidates=following.candidates if following else no_chunks,
        next_noise=following.noise if following else no_chunks,
        images=first.images,
        next_images=following.images if following else no_bytes(),
        vla_version=first.vla_version,
        policy_version=first.policy_version,
        emergency_stop=episode.estop_step is not None and end >= episode.estop_step,
        critical_phase=first.critical_phase,
    )


def _next_takeover(actors: np.ndarray, start: int) -> int:
    """First step from `start` on at which a human took over from something else, T when none did."""
    taken = (actors[1:] == Actor.HUMAN) & (actors[:-1] != Actor.HUMAN)  # at step k + 1
    return next((k for k in range(max(start, 1), len(actors)) if taken[k - 1]), len(actors))


def _actions(track: _Track, decision: Decision, contract: Contract, start: int) -> Floats:
    """(H, A) what was executed from `start` on, in the units of the policy.

    Past the end of the episode follows the rest of the chunk that was being played; for any other decision the last
    step is repeated. Repeated for that chunk too, a retreat that succeeds in its third step would be stored as a small
    one, and the critic would learn that small ones succeed.
    """
    total = len(track.actors)
    rows = window_rows(start, contract.horizon, total)
    actions = policy_actions(contract, decision.reference, track.targets[rows], track.commands[rows])
    if decision.stamp.request_id == track.last_played:
        actions[total - start :] = decision.chosen_chunk[total - start :]
    return actions
