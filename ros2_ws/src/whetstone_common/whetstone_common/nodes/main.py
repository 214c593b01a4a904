# SPDX-License-Identifier: Apache-2.0
"""Entry point shared by all nodes: build, spin, and stop in order on SIGINT or SIGTERM."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from whetstone_common.core.parameters import ParameterError
from whetstone_common.nodes.node import WhetstoneNode

# The executor driven by events spends 27 us of CPU on a message of a lifecycle node, where the one that rebuilds a wait
# set of all its services each time spends 310 us; in lockstep that is most of what a tick costs. It polls a coroutine
# that awaits something (a quarter of a core), so callbacks of nodes are no coroutines.
try:
    from rclpy.experimental import EventsExecutor
except ImportError:  # distributions before Kilted
    EventsExecutor = SingleThreadedExecutor

_BAD_PARAMETERS = 2
_SECOND_NODE = 3
# How late a signal may be noticed while nothing arrives.
_SPIN_TIMEOUT_S = 0.1


class _StopFlag:
    """Set by the first SIGINT or SIGTERM; later ones change nothing, so they cannot cut the stop short."""

    def __init__(self) -> None:
        self.is_set = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.is_set = True


def run(factory: Callable[[], WhetstoneNode]) -> None:
    """Run one node until SIGINT or SIGTERM, then hold, flush and exit with 0."""
    stop = _StopFlag()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = factory()
    except ParameterError as error:
        sys.stderr.write(f"refused to start: {error}\n")
        rclpy.shutdown()
        sys.exit(_BAD_PARAMETERS)
    executor = EventsExecutor()
    executor.add_node(node)
    try:
        node.muted = True
        if other := _wait_for_namesake(node, executor, stop):
            name = node.get_fully_qualified_name()
            sys.stderr.write(
                f"refused to start: {name} runs already, as {other}; stop it, or use another ROS_DOMAIN_ID\n"
            )
            sys.exit(_SECOND_NODE)
        node.muted = False
        node.namesake.announce()
        node.autostart()
        while not stop.is_set:
            executor.spin_once(timeout_sec=_SPIN_TIMEOUT_S)
    finally:
        node.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()


def _wait_for_namesake(node: WhetstoneNode, executor: Any, stop: _StopFlag) -> str:
    """Listen whether another process runs a node of this name; who it is, or empty."""
    end_s = time.monotonic() + node.param("second_node_check_s")
    while time.monotonic() < end_s and not node.namesake.text and not stop.is_set:
        executor.spin_once(timeout_sec=_SPIN_TIMEOUT_S)
    return node.namesake.text
