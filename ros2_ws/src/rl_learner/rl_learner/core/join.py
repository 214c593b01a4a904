# SPDX-License-Identifier: Apache-2.0
"""Joins decisions, executed steps, rewards and episode events into transitions, an episode at a time.

The four come by different ways, so they may arrive in any order, twice, or not at all. An episode is built when its
end is known and nothing of it is missing, or has gone quiet; it is dropped, with a reason in the books, when something
stays missing. Memory is bounded: few episodes are open at once, each of bounded length.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rl_learner.core.episode import Episode, Patience, Rules, build, has_other_words, missing_of
from rl_learner.core.ledger import EpisodeEntry
from rl_learner.core.records import Decision, Event, Judgement, Outcome, Step, is_finite
from rl_learner.core.transition import Transition
from whetstone_common.core.contract import Contract

Key = tuple[int, int]
_MAX_OPEN = 4
_MAX_CLOSED = 256
_MAX_UNSEEN = 1000
_QUIET_S = 0.3


@dataclass(frozen=True)
class Batch:
    """An episode as it goes into the books.

    Attributes:
        entry: How it went.
        transitions: Its windows in the order of their starts; empty when it was dropped.
    """

    entry: EpisodeEntry
    transitions: tuple[Transition, ...] = ()


@dataclass
class _Open:
    """An episode that is not yet in the books."""

    episode: Episode
    touched_s: float
    is_over: bool = False


class Joiner:
    """Takes records in any order and hands out episodes; time is passed in.

    Args:
        rules: How windows are cut.
        grace_s: How long after its newest record an ended episode may lack something.
        max_steps: An episode that grows longer is dropped.
        after: (epoch, episode) of the newest episode in the books, so that what was missed since is known.
    """

    def __init__(self, rules: Rules, *, grace_s: float, max_steps: int, after: Key = (0, 0)) -> None:
        self._rules = rules
        self.grace_s = grace_s
        self._max_steps = max_steps
        self._open: OrderedDict[Key, _Open] = OrderedDict()
        self._closed: OrderedDict[Key, None] = OrderedDict({after: None})
        self._newest = after
        self._done: list[Batch] = []
        self._contracts: OrderedDict[str, Contract] = OrderedDict()
        self.counters: Counter[str] = Counter()

    # ---- records -----------------------------------------------------------------------------------------------------

    def on_contract(self, contract: Contract) -> None:
        """Learn what the numbers of a policy mean."""
        self._contracts[contract.hash()] = contract
        if len(self._contracts) > _MAX_OPEN:
            self._contracts.popitem(last=False)

    def on_decision(self, decision: Decision, now_s: float) -> None:
        """Take a decision."""
        live = self._find(decision.stamp.epoch, decision.stamp.episode, now_s)
        if live is None or self._is_bad(decision):
            return
        self._keep(live.episode.decisions, decision.stamp.request_id, decision)
        self._bound(live)

    def on_step(self, step: Step, now_s: float) -> None:
        """Take an executed step."""
        live = self._find(step.stamp.epoch, step.stamp.episode, now_s)
        if live is None or self._is_bad(step):
            return
        self._keep(live.episode.steps, step.episode_step, step)
        for key, other in self._open.items():
            # Steps come in order: with one of a later episode, all of the earlier ones have come.
            other.episode.steps_done = other.episode.steps_done or key < live.episode.key
        self._bound(live)

    def on_judgement(self, judgement: Judgement, now_s: float) -> None:
        """Take a reward."""
        live = self._find(judgement.epoch, judgement.episode, now_s)
        if live is None:
            return
        if judgement.reward != judgement.reward or abs(judgement.reward) == float("inf"):
            self.counters["not_finite"] += 1
            return
        self._keep(live.episode.rewards, judgement.steps, judgement)

    def on_event(self, event: Event, now_s: float) -> None:
        """Take the start or the end of an episode."""
        live = self._find(event.epoch, event.episode, now_s)
        if live is None:
            return
        if event.outcome is Outcome.STARTED:
            live.episode.started = True
        elif live.episode.end is None:
            live.episode.end = event
            live.is_over = True
        else:
            self.counters["duplicates"] += 1

    def on_estop(self) -> None:
        """An e-stop was pressed; the windows of the open episodes that reach this far say so."""
        for live in self._open.values():
            if live.episode.estop_step is None:
                live.episode.estop_step = len(live.episode.steps)

    # ---- episodes ----------------------------------------------------------------------------------------------------

    @property
    def open_episodes(self) -> int:
        """How many are not yet in the books."""
        return len(self._open)

    def collect(self, now_s: float) -> list[Batch]:
        """Hand out what is complete, or has to be given up."""
        for key, live in list(self._open.items()):
            batch = self._verdict(live, now_s)
            if batch is not None:
                self._close(key, batch)
        done, self._done = self._done, []
        return done

    def give_up(self, reason: str) -> list[Batch]:
        """Hand out everything, the open episodes as dropped: the node stops."""
        for key, live in list(self._open.items()):
            self._close(key, Batch(_entry(live.episode, dropped=reason)))
        done, self._done = self._done, []
        return done

    def _verdict(self, live: _Open, now_s: float) -> Batch | None:
        """The episode's place in the books, None while it may still change."""
        episode = live.episode
        # Counted from the newest record: a reader that lags behind still has the others before it.
        is_late = live.is_over and now_s - live.touched_s >= self.grace_s
        if episode.end is None:
            return Batch(_entry(episode, dropped="no end")) if is_late else None
        if episode.end.outcome is Outcome.ABORTED and not self._rules.keep_aborted:
            return Batch(_entry(episode, dropped="aborted"))
        if has_other_words(episode):
            return Batch(_entry(episode, dropped="other words than the episode's"))
        missing = missing_of(episode, self._contracts, self._rules)
        if missing.fatal:
            return Batch(_entry(episode, dropped=missing.fatal)) if is_late else None
        is_quiet = now_s - live.touched_s >= _QUIET_S
        if not (is_late or missing.patience is Patience.NONE or (is_quiet and missing.patience is Patience.QUIET)):
            return None
        return self._build(episode)

    def _build(self, episode: Episode) -> Batch:
        try:
            transitions, unused = build(episode, self._rules, self._contracts)
        except (ValueError, IndexError) as error:
            return Batch(_entry(episode, dropped=f"inconsistent: {error}"))
        entry = _entry(episode, transitions=len(transitions), unused=tuple(sorted(unused.items())))
        return Batch(entry, tuple(transitions))

    def _close(self, key: Key, batch: Batch) -> None:
        self._open.pop(key, None)
        self._closed[key] = None
        if len(self._closed) > _MAX_CLOSED:
            self._closed.popitem(last=False)
        self._done.append(batch)
        self.counters["episodes_dropped" if batch.entry.dropped else "episodes"] += 1

    # ---- bounds ------------------------------------------------------------------------------------------------------

    def _find(self, epoch: int, episode: int, now_s: float) -> _Open | None:
        """The open episode of a record, opened if need be; None when the record comes too late or belongs to none."""
        key = (epoch, episode)
        if episode == 0:
            return None
        if key in self._open:
            self._open[key].touched_s = now_s
            return self._open[key]
        if key in self._closed or key < self._newest:
            self.counters["late"] += 1
            return None
        for unseen in self._unseen(key):
            self._close(unseen, Batch(EpisodeEntry(*unseen, dropped="unseen")))
        self._newest = key
        for live in self._open.values():
            # Another episode has begun, so this one is over, whether or not anyone said so.
            live.is_over = True
        self._open[key] = _Open(Episode(epoch, episode), now_s)
        if len(self._open) > _MAX_OPEN:
            oldest = next(iter(self._open))
            self._close(oldest, Batch(_entry(self._open[oldest].episode, dropped="too many open episodes")))
        return self._open[key]

    def _unseen(self, key: Key) -> Iterator[Key]:
        """Episodes of the same epoch between the newest one heard of and this one."""
        epoch, episode = self._newest
        if epoch == key[0]:
            yield from ((epoch, n) for n in range(max(episode + 1, key[1] - _MAX_UNSEEN), key[1]))

    def _bound(self, live: _Open) -> None:
        episode = live.episode
        if max(len(episode.steps), len(episode.decisions)) > self._max_steps:
            self._close(episode.key, Batch(_entry(episode, dropped=f"longer than {self._max_steps} steps")))

    def _keep(self, records: dict[int, Any], key: int, record: object) -> None:
        """The first of two records with one key counts."""
        if key in records:
            self.counters["duplicates"] += 1
        else:
            records[key] = record

    def _is_bad(self, record: Decision | Step) -> bool:
        if is_finite(record):
            return False
        self.counters["not_finite"] += 1
        return True


def _entry(
    episode: Episode, *, transitions: int = 0, dropped: str = "", unused: tuple[tuple[str, int], ...] = ()
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
