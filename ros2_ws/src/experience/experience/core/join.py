# SPDX-License-Identifier: Apache-2.0
"""Joins decisions, executed steps, rewards and episode events into transitions, an episode at a time.

The four come by different ways, so they may arrive in any order, twice, or not at all. An episode is built when its
end is known and nothing of it is missing, or has gone quiet; it is dropped, with a reason in the ledger, if something
stays missing. Memory is bounded: few episodes are open at once, each of bounded length.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from experience.core.episode import EpisodeRecords, Rules, WaitPolicy, build, has_other_instruction, missing_of
from experience.core.ledger import EpisodeEntry
from experience.core.records import Decision, EpisodeEventKind, Event, StepRecord, StepReward, is_finite
from experience.core.transition import Transition
from whetstone_common.core.contract import Contract
from whetstone_common.core.enums import RequestKind
from whetstone_common.core.epochs import EpochTracker

Key = tuple[int, int]
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_MAX_OPEN = 4
_MAX_CLOSED = 256
_MAX_UNSEEN = 1000
_MAX_EPOCHS = 1000
_QUIET_S = 0.3


@dataclass(frozen=True)
class JoinedEpisode:
    """An episode as it goes into the ledger.

    Attributes:
        entry: How it went.
        transitions: Its windows in the order of their starts; empty when it was dropped.
    """

    entry: EpisodeEntry
    transitions: tuple[Transition, ...] = ()


@dataclass
class _Open:
    """An episode that is not yet in the ledger."""

    episode: EpisodeRecords
    touched_s: float


class Joiner:
    """Takes records in any order and hands out episodes; time is passed in.

    Args:
        rules: How windows are cut.
        grace_s: How long after its newest record an ended episode may lack something.
        max_steps: An episode that grows longer is dropped.
        recorded: (epoch, episode) of the episodes in the ledger in their order, so that gaps are found.

    Attributes:
        refused: How often a whole episode was refused since the last one was taken in.
        refusal: Why, of the newest.
    """

    def __init__(self, rules: Rules, *, grace_s: float, max_steps: int, recorded: Iterable[Key] = ()) -> None:
        self._rules = rules
        self.grace_s = grace_s
        self._max_steps = max_steps
        self._open: OrderedDict[Key, _Open] = OrderedDict()
        self._closed: OrderedDict[Key, None] = OrderedDict()
        # Newest episode of each start of the arm: epochs are identities, and have no order.
        self._newest: OrderedDict[int, int] = OrderedDict()
        self._arms = EpochTracker()
        self.refused, self.refusal = 0, ""
        self._done: list[JoinedEpisode] = []
        self._contracts: OrderedDict[str, Contract] = OrderedDict()
        self.counters: Counter[str] = Counter()
        for key in recorded:
            self._note(key)
            _bounded(self._closed, key, None, _MAX_CLOSED)

    # ---- records -----------------------------------------------------------------------------------------------------

    def on_contract(self, contract: Contract) -> None:
        """Learn what the numbers of a policy mean."""
        self._contracts[contract.hash()] = contract
        if len(self._contracts) > _MAX_OPEN:
            self._contracts.popitem(last=False)

    def on_decision(self, decision: Decision, now_s: float) -> None:
        """Take a decision; one of a trial belongs to no episode."""
        if decision.request_kind is RequestKind.TRIAL:
            return
        pending = self._find(decision.stamp.epoch, decision.stamp.episode, now_s)
        if pending is None or self._is_bad(decision):
            return
        self._keep(pending.episode.decisions, decision.stamp.request_id, decision)
        self._bound(pending)

    def on_step(self, step: StepRecord, now_s: float) -> None:
        """Take an executed step."""
        pending = self._find(step.stamp.epoch, step.stamp.episode, now_s)
        if pending is None or self._is_bad(step):
            return
        self._keep(pending.episode.steps, step.episode_step, step)
        for key, other in self._open.items():
            # Steps come in order: with one of a later episode, all of the earlier ones have come.
            is_earlier = key[0] == step.stamp.epoch and key[1] < step.stamp.episode
            other.episode.steps_done = other.episode.steps_done or is_earlier
        self._bound(pending)

    def on_reward(self, reward: StepReward, now_s: float) -> None:
        """Take a reward."""
        pending = self._find(reward.epoch, reward.episode, now_s)
        if pending is None:
            return
        if reward.reward != reward.reward or abs(reward.reward) == float("inf"):
            self.counters["not_finite"] += 1
            return
        self._keep(pending.episode.rewards, reward.steps, reward)

    def on_event(self, event: Event, now_s: float) -> None:
        """Take the start or the end of an episode."""
        pending = self._find(event.epoch, event.episode, now_s)
        if pending is None:
            self._refuse(event)
            return
        if event.outcome is EpisodeEventKind.STARTED:
            pending.episode.started = True
        elif pending.episode.end is None:
            pending.episode.end = event
        else:
            self.counters["duplicates"] += 1

    def on_hello(self, epoch: int, episode: int, now_s: float) -> None:
        """An arm says that it is there, and the number of its newest episode: those that follow are not missed."""
        self._arms.announce(epoch, now_s)
        if epoch not in self._newest:
            self._note((epoch, episode))

    def on_estop(self) -> None:
        """An e-stop was pressed; the windows of the open episodes that reach this far say so."""
        for pending in self._open.values():
            if pending.episode.estop_step is None:
                pending.episode.estop_step = len(pending.episode.steps)

    # ---- episodes ----------------------------------------------------------------------------------------------------

    @property
    def open_episodes(self) -> int:
        """How many are not yet in the ledger."""
        return len(self._open)

    def collect(self, now_s: float) -> list[JoinedEpisode]:
        """Hand out what is complete, or has to be given up."""
        for key, pending in list(self._open.items()):
            joined = self._joined_or_wait(pending, now_s)
            if joined is not None:
                self._close(key, joined)
        done, self._done = self._done, []
        return done

    def give_up(self, reason: str) -> list[JoinedEpisode]:
        """Hand out everything, the open episodes as dropped: the node stops."""
        for key, pending in list(self._open.items()):
            self._close(key, JoinedEpisode(_entry(pending.episode, dropped=reason)))
        done, self._done = self._done, []
        return done

    def _joined_or_wait(self, pending: _Open, now_s: float) -> JoinedEpisode | None:
        """The episode's place in the ledger, None while it may still change."""
        episode = pending.episode
        # Counted from the newest record: a reader that lags behind still has the others before it.
        is_late = self._is_over(episode) and now_s - pending.touched_s >= self.grace_s
        if episode.end is None:
            return JoinedEpisode(_entry(episode, dropped="no end")) if is_late else None
        if episode.end.outcome is EpisodeEventKind.ABORTED and not self._rules.keep_aborted:
            return JoinedEpisode(_entry(episode, dropped="aborted"))
        if episode.end.evaluation:
            return JoinedEpisode(_entry(episode, dropped="evaluation"))
        if has_other_instruction(episode):
            return JoinedEpisode(_entry(episode, dropped="another instruction than the episode's"))
        missing = missing_of(episode, self._contracts, self._rules)
        if missing.fatal:
            return JoinedEpisode(_entry(episode, dropped=missing.fatal)) if is_late else None
        is_quiet = now_s - pending.touched_s >= _QUIET_S
        if not (is_late or missing.wait is WaitPolicy.NONE or (is_quiet and missing.wait is WaitPolicy.QUIET)):
            return None
        return self._build(episode)

    def _build(self, episode: EpisodeRecords) -> JoinedEpisode:
        try:
            transitions, unused = build(episode, self._rules, self._contracts)
        except (ValueError, IndexError) as error:
            return JoinedEpisode(_entry(episode, dropped=f"inconsistent: {error}"))
        entry = _entry(episode, transitions=len(transitions), unused=tuple(sorted(unused.items())))
        return JoinedEpisode(entry, tuple(transitions))

    def _close(self, key: Key, joined: JoinedEpisode) -> None:
        self._open.pop(key, None)
        _bounded(self._closed, key, None, _MAX_CLOSED)
        self._done.append(joined)
        self.counters["episodes_dropped" if joined.entry.dropped else "episodes"] += 1

    # ---- bounds ------------------------------------------------------------------------------------------------------

    def _find(self, epoch: int, episode: int, now_s: float) -> _Open | None:
        """The open episode of a record, opened if need be; None when the record comes too late or belongs to none."""
        key = (epoch, episode)
        if episode == 0:
            return None
        if key in self._open:
            self._arms.observe(epoch, now_s)
            self._open[key].touched_s = now_s
            return self._open[key]
        is_past = key in self._closed or episode < self._newest.get(epoch, 0)
        if is_past or not self._arms.observe(epoch, now_s):
            self.counters["late"] += 1
            return None
        for unseen in self._unseen(key):
            self._close(unseen, JoinedEpisode(EpisodeEntry(*unseen, dropped="unseen")))
        self._note(key)
        self.refused, self.refusal = 0, ""
        self._open[key] = _Open(EpisodeRecords(epoch, episode), now_s)
        if len(self._open) > _MAX_OPEN:
            oldest, pending = next(iter(self._open.items()))
            # On a busy computer several end between two checks: what can be built is.
            joined = self._joined_or_wait(pending, float("inf"))
            if joined is None or joined.entry.dropped:
                joined = JoinedEpisode(_entry(pending.episode, dropped="too many open episodes"))
            self._close(oldest, joined)
        return self._open[key]

    def _unseen(self, key: Key) -> Iterator[Key]:
        """Episodes of the same epoch between the newest one received and this one."""
        epoch, episode = key
        if epoch in self._newest:
            yield from ((epoch, n) for n in range(max(self._newest[epoch] + 1, episode - _MAX_UNSEEN), episode))

    def _note(self, key: Key) -> None:
        epoch, episode = key
        _bounded(self._newest, epoch, max(episode, self._newest.get(epoch, 0)), _MAX_EPOCHS)

    def _is_over(self, episode: EpisodeRecords) -> bool:
        """Whether an episode has ended, or another one has begun since, whether or not anyone said so."""
        later = episode.epoch != self._arms.followed or episode.number < self._newest.get(episode.epoch, 0)
        return episode.end is not None or later

    def _refuse(self, event: Event) -> None:
        """Book an episode of which nothing was taken in: its end has come, and nobody knows it."""
        key = (event.epoch, event.episode)
        if event.outcome is EpisodeEventKind.STARTED or event.episode == 0 or key in self._closed:
            return
        if event.episode <= self._newest.get(event.epoch, 0):
            return  # it is in the ledger, further back than is remembered here
        reason = f"the arm with epoch {self._arms.followed} is followed, this one has epoch {event.epoch}"
        self.refused, self.refusal = self.refused + 1, f"episode {event.episode} was refused: {reason}"
        entry = EpisodeEntry(*key, event.outcome.name.lower(), event.task, dropped="of another arm")
        self._close(key, JoinedEpisode(entry))

    def _bound(self, pending: _Open) -> None:
        episode = pending.episode
        if max(len(episode.steps), len(episode.decisions)) > self._max_steps:
            self._close(episode.key, JoinedEpisode(_entry(episode, dropped=f"longer than {self._max_steps} steps")))

    def _keep(self, records: dict[int, Any], key: int, record: object) -> None:
        """The first of two records with one key counts."""
        if key in records:
            self.counters["duplicates"] += 1
        else:
            records[key] = record

    def _is_bad(self, record: Decision | StepRecord) -> bool:
        if is_finite(record):
            return False
        self.counters["not_finite"] += 1
        return True


def _bounded(entries: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    """Put an entry at the end, and take the oldest away where there are too many."""
    entries[key] = value
    entries.move_to_end(key)
    if len(entries) > most:
        entries.popitem(last=False)


def _entry(
    episode: EpisodeRecords, *, transitions: int = 0, dropped: str = "", unused: tuple[tuple[str, int], ...] = ()
) -> EpisodeEntry:
    end = episode.end
    return EpisodeEntry(
        epoch=episode.epoch,
        episode=episode.number,
        outcome=end.outcome.name.lower() if end else "unknown",
        task=end.task if end else "",
        steps=len(episode.steps),
        transitions=transitions,
        dropped=dropped,
        unused=unused,
    )
