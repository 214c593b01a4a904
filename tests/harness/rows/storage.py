# SPDX-License-Identifier: Apache-2.0
"""Rows of what is kept: a disk without room, and a learner that dies under a launch."""

from __future__ import annotations

from pathlib import Path

import psutil
from std_msgs.msg import String
from vla_interfaces.msg import EpisodeEvent

from harness.disk import tiny_disk
from harness.oracle import Verdict
from harness.rows.case import Case, check, now_ns
from harness.until import NotReachedError, until
from harness.watcher import LATCHED
from harness.world import World

_TRAIN = Path(__file__).resolve().parents[3] / "launch" / "train.launch.xml"
_START_S = 60.0


def disk_is_full(world: World, seed: int, mutation: str) -> Verdict:  # noqa: ARG001 - a full disk is full at any moment
    """Row 65: not ready while there is no room, with the reason; with space again the next episode is recorded."""
    with tiny_disk(world.folder / "disk", 400) as disk:
        parameters = {"directory": str(disk.folder), "topics": ["instruction std_msgs/msg/String latched"]}
        recorder = world.node("experience", "recorder_node", parameters=parameters, mutation=mutation)
        full = world.watcher.wait_state("recorder_node", ("HOLDING", "READY"), _START_S)
        verdict = check(
            (full.state, full.reason) == ("HOLDING", "DISK_FULL") and "MB free in" in full.detail,
            f"with a full disk recorder_node says {full.state} {full.reason} {full.detail}",
        )
        grown_ns = now_ns()
        disk.grow(100_000)
        world.watcher.wait_state("recorder_node", "READY", 5.0, after_ns=grown_ns)
        world.watcher.say(String(data="stack"), "instruction", LATCHED)
        started_ns = world.watcher.say(EpisodeEvent(task="stack", epoch=1, episode=1), "episode")
        world.watcher.wait_state("recorder_node", "RUNNING", 5.0, after_ns=started_ns)
        world.watcher.say(EpisodeEvent(task="stack", epoch=1, episode=1, event=EpisodeEvent.SUCCEEDED), "episode")
        try:
            until(lambda: list(disk.folder.glob("*.mcap")), 5.0, "the recording")
        except NotReachedError as error:
            verdict += Verdict((str(error),))
        recorder.term()
        recorder.wait_exit(10.0)
        return verdict


def learner_is_started_again(world: World, seed: int, mutation: str) -> Verdict:  # noqa: ARG001
    """Row 67: under the launch file a learner that was killed comes back by itself."""
    launch = world.launch(_TRAIN, run="mine", run_dir=str(world.folder / "runs"))
    world.wait_ready("learner_node")
    before = world.watcher.latest("learner_node")
    (victim,) = (
        child for child in psutil.Process(launch.pid).children(recursive=True) if "learner_node" in child.cmdline()[1]
    )
    killed_ns = now_ns()
    victim.kill()
    until(lambda: not victim.is_running(), 5.0, "the learner is gone")
    after = world.watcher.wait_state("learner_node", "READY", _START_S, after_ns=killed_ns + int(0.5e9))
    launch.term()
    launch.wait_exit(20.0)
    return check(
        before is not None and after.node_epoch != before.node_epoch,
        "the learner that speaks is the one that was killed",
        back_s=(after.t_ns - killed_ns) / 1e9,
    )


CASES = (
    Case("65", "a full disk and space again", disk_is_full, ("room_is_not_looked_at",), quick=True),
    Case("67", "kill -9 learner under a launch", learner_is_started_again),
)
