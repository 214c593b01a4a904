# SPDX-License-Identifier: Apache-2.0
"""One vla_node for 1, 2, 4 and 8 robots: chunks per second, latency and fairness.

The robots are requesters in one process, each in a namespace of its own: they publish observations as observation_node
does and wait for the proposal. Eight simulators would measure the simulators.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from figures import Figure, summarise
from rclpy.context import Context
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from stage import stage, wait_known, wait_until_quiet
from vla_interfaces.msg import Observation, Proposal

from harness.ring import observation
from vla_policy.core.backends.onnx_cache import exported
from whetstone_common.nodes import qos

GROUP = "Several robots on one vla_node (observation out to proposal in; pocket VLA by ONNX on one thread, 1 candidate)"
COUNTS = (1, 2, 4, 8)
PERIOD_S = 0.8  # 16 steps of 0.05 s: a whole chunk is played
_WARM_UP = 3
_LOST_S = 2.0  # what was asked before the node was found is not answered


class Requester:
    """A robot that asks, as often as its period says or as soon as it is answered."""

    def __init__(self, node: Node, name: str, period_s: float) -> None:
        """Connect.

        Args:
            node: Of the process.
            name: Namespace of the robot.
            period_s: Between two requests; 0 to ask as soon as the answer is there.
        """
        self.samples_ms: list[float] = []
        self._period_s, self._number, self._asked_s, self._due_s = period_s, 0, 0.0, time.perf_counter()
        self._out = node.create_publisher(Observation, f"/{name}/observation", qos.RING)
        node.create_subscription(Proposal, f"/{name}/proposal", self._on_proposal, qos.RING)

    def ask_if_due(self, now_s: float) -> None:
        """Ask, unless it is too early or an answer is waited for."""
        if now_s < self._due_s or (self._asked_s and now_s - self._asked_s < _LOST_S):
            return
        self._number += 1
        msg = observation(self._number, seed=self._number)
        self._asked_s = time.perf_counter()
        self._due_s = max(self._due_s + self._period_s, now_s)
        self._out.publish(msg)

    def _on_proposal(self, msg: Proposal) -> None:
        if msg.stamp.request_id == self._number:
            self.samples_ms.append(1e3 * (time.perf_counter() - self._asked_s))
            self._asked_s = 0.0


def run(directory: Path, *, seconds: float, counts: tuple[int, ...] = COUNTS) -> list[Figure]:
    """Robots that ask at their rate, and robots that ask as soon as they can, with and without batches."""
    ways: dict[str, tuple[float, dict[str, Any]]] = {
        f"one request each {PERIOD_S:g} s": (PERIOD_S, {}),
        "ask at once": (0.0, {}),
        "ask at once, max_batch 1": (0.0, {"max_batch": 1}),
    }
    graphs = exported(directory)  # each vla_node has a home of its own, and would export anew
    figures: list[Figure] = []
    for count in counts:
        for way, (period_s, parameters) in ways.items():
            if count > 1 or not parameters:
                figures += _measure(graphs, count, way, seconds, period_s, parameters)
    return figures


def _measure(
    graphs: Path, count: int, way: str, seconds: float, period_s: float, parameters: dict[str, Any]
) -> list[Figure]:
    names = [f"robot_{number}" for number in range(1, count + 1)]
    with stage() as world:
        served = {"backend": "onnx", "model_dir": str(graphs), "robots": names, **parameters}
        world.node("vla_policy", "vla_node", parameters=served)
        wait_known(world.watcher, "vla_node")
        wait_until_quiet(world, 1.0)
        context = Context()
        context.init(domain_id=world.domain_id)
        node, executor = Node("bench_robots", context=context), EventsExecutor(context=context)
        executor.add_node(node)
        robots = [Requester(node, name, period_s) for name in names]
        try:
            while not all(len(robot.samples_ms) > _WARM_UP for robot in robots):
                _spin(executor, robots, 0.1)
            for robot in robots:
                robot.samples_ms.clear()
            took_s = _spin(executor, robots, seconds)
        finally:
            executor.shutdown()
            node.destroy_node()
            context.try_shutdown()
    answers = [len(robot.samples_ms) for robot in robots]
    name = f"{count} robot{'s' if count > 1 else ''}, {way}"
    total = sum(answers)
    return [
        summarise(GROUP, f"{name}: latency", "ms", [sample for robot in robots for sample in robot.samples_ms]),
        Figure(GROUP, f"{name}: chunks in all", "1/s", total / took_s, total / took_s, total),
        Figure(GROUP, f"{name}: fewest over most of one robot", "", *2 * [min(answers) / max(answers)], count),
    ]


def _spin(executor: EventsExecutor, robots: list[Requester], seconds: float) -> float:
    """Let the robots ask for so long; returns how long it really was (s)."""
    began_s = time.perf_counter()
    while (now_s := time.perf_counter()) < began_s + seconds:
        for robot in robots:
            robot.ask_if_due(now_s)
        executor.spin_once(timeout_sec=0.002)
    return time.perf_counter() - began_s
