# SPDX-License-Identifier: Apache-2.0
"""The thread that waits for the disk, so that nobody else has to."""

from __future__ import annotations

import queue
import threading
from collections import Counter, deque
from collections.abc import Callable

from experience.core.codec import TRANSITION_SCHEMA, encode
from experience.core.join import JoinedEpisode
from experience.core.ledger import EPISODE_SCHEMA, EpisodeEntry
from experience.core.spool.record import RecordKind
from experience.core.spool.spool import Full, Spool, SpoolEntry, SpoolFullError

# Windows that may wait for the disk: about 80 MB, minutes of a robot's work, however short its episodes are.
_MOST_WAITING = 10_000
_MAX_UNBOOKED = 1000
_PROBE_S = 0.5
_DROPPED = {Full.BOUND: "spool full", Full.DISK: "disk full"}


class Writer:
    """Stores episodes one after another; those that find no room are dropped, and booked as soon as there is some.

    Args:
        spool: Where they go.
        on_failure: Told of an exception that is no lack of room; the thread has ended then.
        most_waiting: Windows that may wait for a slow disk.
    """

    def __init__(
        self, spool: Spool, on_failure: Callable[[BaseException], None], *, most_waiting: int = _MOST_WAITING
    ) -> None:
        self._spool = spool
        self._on_failure = on_failure
        self._most_waiting = most_waiting
        self._waiting: queue.SimpleQueue[JoinedEpisode | None] = queue.SimpleQueue()
        self._count = 0  # windows that wait
        self._lock = threading.Lock()
        self._unbooked: deque[EpisodeEntry] = deque(maxlen=_MAX_UNBOOKED)
        self._needed = 0
        self._floor = 0
        self.full: SpoolFullError | None = None
        self.counters: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def put(self, joined: JoinedEpisode) -> None:
        """Store an episode soon; one that finds too many windows waiting for a slow disk is dropped."""
        with self._lock:
            fits = self._count == 0 or self._count + len(joined.transitions) <= self._most_waiting
            self._count += len(joined.transitions) * fits
        if fits:
            self._waiting.put(joined)
        else:
            self._drop(joined, "disk too slow")

    def skip_to(self, seq: int) -> None:
        """Number what comes next from behind `seq`."""
        self._floor = max(self._floor, seq)

    def close(self, timeout_s: float) -> bool:
        """Store what waits and end; returns whether that was done in time."""
        self._waiting.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._probe()
            while True:
                try:
                    joined = self._waiting.get(timeout=_PROBE_S)
                except queue.Empty:
                    self._probe()
                    continue
                if joined is None:
                    break
                self._store(joined)
                with self._lock:
                    self._count -= len(joined.transitions)
            self._probe()
        except BaseException as error:  # noqa: BLE001 - boundary of the thread
            self._on_failure(error)

    def _store(self, joined: JoinedEpisode) -> None:
        transitions = [SpoolEntry(RecordKind.DATA, TRANSITION_SCHEMA, encode(t)) for t in joined.transitions]
        try:
            self._append([*transitions, _note(joined.entry)])
            self.counters["episodes_stored"] += not joined.entry.dropped
        except SpoolFullError as error:
            self._needed = sum(len(entry.payload) for entry in transitions)
            self.full = error
            self._drop(joined, _DROPPED[error.why])

    def _append(self, entries: list[SpoolEntry]) -> None:
        self._spool.skip_to(self._floor)
        late = list(self._unbooked)
        self._spool.append([*map(_note, late), *entries])
        for _ in late:
            self._unbooked.popleft()
        self.full, self._needed = None, 0

    def _probe(self) -> None:
        """Find out whether there is room, before an episode needs it."""
        try:
            self._spool.make_room(self._needed)
            if self._unbooked:
                self._append([])
            self.full, self._needed = None, 0
        except SpoolFullError as error:
            self.full = error

    def _drop(self, joined: JoinedEpisode, reason: str) -> None:
        old = joined.entry
        self.counters["episodes_without_room"] += not old.dropped
        self.counters["transitions_without_room"] += len(joined.transitions)
        entry = EpisodeEntry(old.epoch, old.episode, old.outcome, old.task, old.steps, dropped=old.dropped or reason)
        self._unbooked.append(entry)


def _note(entry: EpisodeEntry) -> SpoolEntry:
    return SpoolEntry(RecordKind.NOTE, EPISODE_SCHEMA, entry.to_bytes())
