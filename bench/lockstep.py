# SPDX-License-Identifier: Apache-2.0
"""Speed of the whole graph in lockstep, and how long its nodes take from the start of their process to READY."""

from __future__ import annotations

import time
from pathlib import Path

from figures import Figure, summarise
from stage import stage, wait_known
from std_msgs.msg import String
from vla_interfaces.msg import TaskTruth
from vla_interfaces.srv import Arm, Resume, SimReset

from harness.until import until
from harness.watcher import LATCHED
from harness.world import World

GROUP_SPEED = "Lockstep (simulated time over wall time; simulator with two 96 px cameras, all nodes)"
GROUP_START = "Start-up (process start to READY, all processes started together)"
TICK_S = 0.05
_WINDOW_TICKS = 20
_NODES = {
    "sim_node": "sim_bridge",
    "arm_node": "robot_bringup",
    "observation_node": "vla_policy",
    "vla_node": "vla_policy",
    "steering_node": "vla_policy",
}


def run(directory: Path | None, *, ticks: int) -> list[Figure]:
    """With a model that does nothing, then with the shipped one when it is there."""
    speed, start = _measure({"backend": "fake", "fake_pattern": "sine", "fake_value": 0.01}, ticks)
    base = summarise(GROUP_SPEED, "null model", "x real time", speed)
    figures = [base, *_starts("null model", start)]
    if directory is not None:
        speed, start = _measure({"backend": "pocket", "model_dir": str(directory)}, ticks)
        figures += [
            summarise(GROUP_SPEED, "pocket VLA", "x real time", speed, baseline=base),
            *_starts("pocket VLA", start),
        ]
    return figures


def _starts(name: str, seconds: dict[str, float]) -> list[Figure]:
    figures = [summarise(GROUP_START, f"{node} ({name})", "s", [value]) for node, value in seconds.items()]
    return [*figures, summarise(GROUP_START, f"all ({name})", "s", [max(seconds.values())])]


def _measure(vla: dict[str, object], ticks: int) -> tuple[list[float], dict[str, float]]:
    with stage() as world:
        began_s = time.monotonic()
        lockstep = {"pace": "lockstep"}
        extra: dict[str, dict[str, object]] = {
            "sim_node": lockstep,
            "arm_node": {**lockstep, "use_sim_time": True},
            "observation_node": {**lockstep, "use_sim_time": True},
            "vla_node": vla,
        }
        for node, package in _NODES.items():
            world.node(package, node, parameters=extra.get(node))
        ready = {
            node: wait_known(world.watcher, node, ("READY", "HOLDING", "RUNNING")) - began_s
            for node in ("sim_node", "vla_node", "steering_node", "arm_node")
        }
        truths = world.watcher.listen(TaskTruth, "/sim/truth")
        _resume(world, ticks)
        until(lambda: len(truths) > ticks, 300.0, f"{ticks} ticks; newest states {world.watcher.statuses[-5:]}")
        times_s = [at_ns * 1e-9 for at_ns, _ in truths[:ticks]]
    windows = range(_WINDOW_TICKS, len(times_s) - _WINDOW_TICKS, _WINDOW_TICKS)
    speed = [_WINDOW_TICKS * TICK_S / (times_s[k + _WINDOW_TICKS] - times_s[k]) for k in windows]
    return speed, ready


def _resume(world: World, ticks: int) -> None:
    watcher = world.watcher
    reset = watcher.call(SimReset, "/sim/reset", task="pick_place", seed=1)
    watcher.say(String(data=reset.instruction), "instruction", LATCHED)
    until(lambda: watcher.call(Arm, "arm_node/arm").success, 60.0, "arm_node accepts to be armed")
    answer = watcher.call(Resume, "arm_node/resume", seed=1, max_steps=10 * ticks, not_before=reset.stamp)
    assert answer.success, answer.message
