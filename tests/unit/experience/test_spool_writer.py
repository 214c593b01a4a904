# SPDX-License-Identifier: Apache-2.0
"""Nobody but the writer's own thread waits for the disk."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from experience.core.join import JoinedEpisode
from experience.core.ledger import EpisodeEntry
from experience.core.spool import Full, Spool, SpoolLimits
from experience.core.spool.writer import Writer
from fakes.rl_episodes import plain_episode, transitions_of
from fakes.rl_files import FaultyFiles
from harness.until import until

WIDE = SpoolLimits(max_bytes=10**9, segment_bytes=10**8)


class SlowFiles(FaultyFiles):
    """Every flush waits until the test lets it go."""

    def __init__(self) -> None:
        """Let everything go at first."""
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def sync(self, path: Path) -> None:
        assert self.gate.wait(20.0)
        super().sync(path)


def batch(episode: int) -> JoinedEpisode:
    transitions = tuple(transitions_of(plain_episode(10, episode=episode)))
    return JoinedEpisode(EpisodeEntry(1, episode, "succeeded", "pick_place", 10, len(transitions)), transitions)


def entries(spool: Spool) -> list[EpisodeEntry]:
    return [EpisodeEntry.from_bytes(note.payload) for note in spool.notes()]


def writer_of(spool: Spool, failures: list[BaseException] | None = None, **limits: int) -> Writer:
    return Writer(spool, (failures if failures is not None else []).append, **limits)


def test_when_episodes_are_put_expect_them_stored_in_order_and_flushed_by_close(tmp_path: Path) -> None:
    spool = Spool(tmp_path, WIDE, identity=1)
    writer = writer_of(spool)
    for episode in range(1, 6):
        writer.put(batch(episode))
    assert writer.close(20.0)
    assert spool.last == 15
    assert [(e.episode, e.transitions) for e in entries(spool)] == [(n, 3) for n in range(1, 6)]


def test_when_the_disk_is_slow_expect_put_to_return_at_once_and_the_surplus_booked(tmp_path: Path) -> None:
    files = SlowFiles()
    spool = Spool(tmp_path, WIDE, identity=1, files=files)
    writer = writer_of(spool, most_waiting=48)
    files.gate.clear()
    made = [batch(episode) for episode in range(1, 31)]
    longest_s = 0.0
    for one in made:
        before_s = time.thread_time()
        writer.put(one)
        longest_s = max(longest_s, time.thread_time() - before_s)
    assert longest_s < 0.05
    assert 10 <= writer.counters["episodes_without_room"] <= 14
    files.gate.set()
    until(lambda: len(entries(spool)) == 30, 20.0, "all episodes are in the ledger")
    dropped = [e for e in entries(spool) if e.dropped]
    assert {e.dropped for e in dropped} == {"disk too slow"}
    assert len(dropped) == writer.counters["episodes_without_room"]
    assert spool.last == 3 * (30 - len(dropped))
    assert writer.close(20.0)


def test_when_the_disk_is_full_expect_a_reason_and_the_dropped_in_the_books_once_there_is_room(tmp_path: Path) -> None:
    files = FaultyFiles()
    spool = Spool(tmp_path, WIDE, identity=1, files=files)
    failures: list[BaseException] = []
    writer = writer_of(spool, failures)
    files.at, files.every = files.operations + 1, True
    writer.put(batch(1))
    until(lambda: writer.full, 20.0, "the writer says why")
    assert writer.full is not None and writer.full.why is Full.DISK
    until(lambda: writer.counters["transitions_without_room"] == 3, 20.0, "counted")
    files.at = 0
    until(lambda: not writer.full and entries(spool), 20.0, "the disk has room again")
    writer.put(batch(2))
    assert writer.close(20.0)
    assert [(e.episode, e.dropped) for e in entries(spool)] == [(1, "disk full"), (2, "")]
    assert spool.last == 3 and not failures


def test_when_a_learner_has_numbers_that_were_lost_expect_the_next_episode_behind_them(tmp_path: Path) -> None:
    spool = Spool(tmp_path, WIDE, identity=1)
    writer = writer_of(spool)
    writer.put(batch(1))
    until(lambda: spool.last == 3, 20.0, "stored")
    writer.skip_to(40)
    writer.put(batch(2))
    assert writer.close(20.0)
    assert [r.seq for r in spool.read(3, 10, 10**6)] == [41, 42, 43]


def test_when_something_else_breaks_expect_the_owner_to_be_told(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    spool = Spool(tmp_path, WIDE, identity=1)
    writer = writer_of(spool, failures)
    writer.put(JoinedEpisode(None))  # type: ignore[arg-type]
    until(lambda: failures, 20.0, "told")
    assert isinstance(failures[0], AttributeError)
