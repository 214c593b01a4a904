# SPDX-License-Identifier: Apache-2.0
"""Rows 36, 38 and 40: processes die, disks fill up, and every transition is stored once or named as dropped."""

from __future__ import annotations

import contextlib
import os
import random
import time
from pathlib import Path
from typing import Any

from vla_interfaces.msg import RecorderSources

from experience.core.ledger import EpisodeEntry
from experience.core.spool import RecordKind, read_all
from experience.nodes.known_sources import NO_EPOCH, TOPICS
from fakes.fake_learner import read_store
from fakes.rl_episodes import CONTRACT, C, plain_episode
from fakes.rl_stream import hello, message, pairs_of
from harness.oracle import judge_ledger, judge_reason
from harness.proc import Proc
from harness.until import NotReachedError, until
from harness.world import World
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import from_contract

KILLS = int(os.environ.get("WHETSTONE_KILLS", "3"))
STEPS = 12
EPOCH = 1  # of the episodes that are played


class Line:
    """transition_node, a learner, and a robot that plays one short episode after another."""

    def __init__(self, world: World, folder: Path, **parameters: Any) -> None:
        self.world = world
        self.store = folder / "learner.jsonl"
        self.spool = folder / "runs" / "default" / "transitions"
        self.parameters = {
            "directory": str(folder / "runs"), "window_steps": C, "resend_s": 0.3, "episode_grace_s": 4.0,
            "pace": "lockstep", "min_free_mb": 0.0,
        } | parameters  # fmt: skip
        self.episode = 0
        self.starts = 0
        self.heard = world.watcher.listen(RecorderSources, "recorder_sources", qos.LATCHED)
        self._say(from_contract(CONTRACT), "policy_contract", qos.LATCHED)

    def _say(self, msg: Any, topic: str, profile: Any) -> None:
        """Publish whether or not anybody listens: a robot does not wait for a recorder."""
        publishers = self.__dict__.setdefault("_publishers", {})
        if topic not in publishers:
            publishers[topic] = self.world.watcher.node.create_publisher(type(msg), topic, profile)
        publishers[topic].publish(msg)

    def start_node(self) -> Proc:
        self.starts += 1
        return self.world.node(
            "experience", "transition_node", parameters=self.parameters, name=f"transition_{self.starts}"
        )

    def start_learner(self, name: str = "fake_learner") -> Proc:
        return self.world.fake("fake_learner", parameters={"store": str(self.store)}, name=name)

    def wait_heard(self) -> None:
        """Say hello until the node says that it hears the robot: who only sees it in the graph speaks too early."""
        self.heard.clear()

        def is_heard() -> bool:
            for topic in TOPICS:
                self._say(hello(topic, EPOCH, self.episode), topic, qos.RECORD)
            said = pairs_of(self.heard[-1][1]) if self.heard else set()
            return said >= {("policy_contract", NO_EPOCH), *((topic, EPOCH) for topic in TOPICS)}

        until(is_heard, 30.0, "the node hears the robot")

    def play(self, records: list[Any], pause_s: float = 0.002) -> None:
        for record in records:
            topic, msg = message(record)
            self._say(msg, topic, qos.RECORD)
            time.sleep(pause_s)

    def next_episode(self) -> list[Any]:
        self.episode += 1
        return plain_episode(STEPS, episode=self.episode)

    def play_until_stored(self) -> None:
        """Play episodes until the node has heard a whole one: what a fresh reader misses at first is booked."""
        for _ in range(10):
            self.play(self.next_episode())
            with contextlib.suppress(NotReachedError):
                until(lambda: self._stored(self.episode), 6.0, "the episode is stored")
                return
        raise AssertionError("the restarted node hears no whole episode")

    def _stored(self, episode: int) -> bool:
        entry = self.entries().get(episode)
        return entry is not None and entry.transitions > 0

    # ---- books -------------------------------------------------------------------------------------------------------

    def entries(self) -> dict[int, EpisodeEntry]:
        notes = [EpisodeEntry.from_bytes(r.payload) for r in read_all(self.spool) if r.kind is RecordKind.NOTE]
        assert len({n.key for n in notes}) == len(notes), "an episode is twice in the ledger"
        return {n.episode: n for n in notes}

    def settle(self, episodes: int) -> None:
        until(lambda: set(range(1, episodes + 1)) <= set(self.entries()), 90.0, "all episodes are in the ledger")
        wanted = sum(e.transitions for e in self.entries().values())
        until(lambda: len(read_store(self.store)) >= wanted, 60.0, f"the learner has {wanted} transitions")

    def judge(self, row: str, case: str) -> None:
        """O2: (episode, step) of every window is with the learner once, or its episode is booked as dropped."""
        entries = self.entries()
        starts = range(0, STEPS, C)
        sent = {(e, s) for e in entries for s in starts}
        dropped = {(e, s) for e in entries for s in starts if entries[e].dropped}
        lines = read_store(self.store)
        assert len({(x["run"], x["epoch"], x["episode"], x["seq"]) for x in lines}) == len(lines)
        stored = [(x["episode"], x["step"]) for x in lines]
        self.world.judge(row, case, judge_ledger(sent, stored, dropped))
        spooled = [r.seq for r in read_all(self.spool) if r.kind is RecordKind.DATA]
        assert spooled == list(range(1, len(spooled) + 1))


def test_when_the_node_is_killed_at_random_moments_expect_exactly_once(world: World, tmp_path: Path) -> None:
    seed = int(os.environ.get("WHETSTONE_SEED", random.SystemRandom().randrange(10**6)))
    print(f"seed {seed}")
    rng = random.Random(seed)
    line = Line(world, tmp_path)
    line.start_learner()
    proc = line.start_node()
    world.wait_ready("transition_node", "fake_learner")
    line.wait_heard()
    for _ in range(KILLS):
        for _ in range(rng.randrange(1, 3)):
            line.play(line.next_episode())
        records = line.next_episode()
        cut = rng.randrange(len(records) + 1)
        line.play(records[:cut])
        time.sleep(rng.random() * 0.2)
        killed_ns = proc.kill9()
        line.play(records[cut:])
        proc = line.start_node()
        world.watcher.wait_state("transition_node", "READY", after_ns=killed_ns)
        line.play_until_stored()
    line.settle(line.episode)
    line.judge("38", "actor killed")


def test_when_the_learner_is_killed_and_comes_back_expect_exactly_once(world: World, tmp_path: Path) -> None:
    line = Line(world, tmp_path)
    line.start_node()
    world.wait_ready("transition_node")
    line.wait_heard()
    for number in range(KILLS):
        learner = line.start_learner(f"learner_{number}")
        line.play(line.next_episode())
        until(lambda n=number: len(read_store(line.store)) > 3 * n, 30.0, "something arrives")
        learner.kill9()
        line.play(line.next_episode())
    line.start_learner()
    line.settle(line.episode)
    assert not any(entry.dropped for entry in line.entries().values())
    line.judge("38", "learner killed")


def test_when_there_is_no_learner_expect_the_oldest_dropped_and_counted(world: World, tmp_path: Path) -> None:
    line = Line(world, tmp_path, max_spool_mb=0.1, segment_mb=0.01, when_full="drop_oldest")
    line.start_node()
    world.wait_ready("transition_node")
    line.wait_heard()
    while line.episode < 50:
        line.play(line.next_episode(), pause_s=0.001)
    status = until(
        lambda: (s := world.watcher.latest("transition_node")) and s.counters.get("episodes") == 50 and s,
        30.0,
        "all episodes joined",
    )
    until(lambda: set(line.entries()) >= {50}, 10.0, "the last episode is stored")
    status = until(
        lambda: (s := world.watcher.latest("transition_node")) and s.counters.get("transitions") == 150 and s, 10.0
    )
    assert (status.state, status.reason) == ("READY", "NONE")
    kept = sum(e.transitions for e in line.entries().values())
    assert status.counters["transitions_dropped"] == 150 - kept > 0
    assert sum(f.stat().st_size for f in line.spool.glob("*.wsp")) <= 100_000


def test_when_the_disk_is_full_expect_a_reason_and_a_live_node(world: World, tmp_path: Path) -> None:
    line = Line(world, tmp_path, min_free_mb=1e6)
    started_ns = time.monotonic_ns()
    line.start_node()
    status = world.watcher.wait_state("transition_node", "HOLDING", reason="DISK_FULL")
    line.wait_heard()
    line.play(line.next_episode())
    until(
        lambda: world.watcher.latest("transition_node").counters.get("episodes_without_room") == 1,
        20.0,
        "the episode is counted",
    )
    verdict = judge_reason(
        world.watcher.statuses, "transition_node", "DISK_FULL", started_ns, within_s=60.0, detail="MB free"
    )
    world.judge("40", "spool", verdict)
    assert status.counters.get("callback_exceptions", 0) == 0
