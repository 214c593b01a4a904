# SPDX-License-Identifier: Apache-2.0
"""Entry point shared by all nodes: build, spin, and stop in order when asked to."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.core.surroundings import give_home
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.stopping import Stop, StopRequestedError, catch_signals, leave
from whetstone_common.nodes.transport import udp_alone

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


def run(factory: Callable[[], WhetstoneNode]) -> None:
    """Run one node until SIGINT, SIGTERM or SIGHUP, then hold, flush and exit with 0; returns only by an exception."""
    stop = catch_signals()
    give_home(os.environ)
    os.environ.update(udp_alone(os.environ))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    code = _run(factory, stop)
    stop.before_end(_nothing)
    _leave_the_graph()
    leave(code)


def _run(factory: Callable[[], WhetstoneNode], stop: Stop) -> int:
    """Build the node, let it live, and close it; returns the exit code."""
    try:
        node = factory()
    except ParameterError as error:
        _refuse(str(error))
        return _BAD_PARAMETERS
    executor = EventsExecutor()
    executor.add_node(node)
    try:
        return _live_alone(node, executor, stop)
    except StopRequestedError:
        node.get_logger().info("asked to end in its set-up")
        return 0
    finally:
        stop.close()
        executor.shutdown()
        node.destroy_node()


def _live_alone(node: WhetstoneNode, executor: Any, stop: Stop) -> int:
    """Refuse to be the second of a name; else live. Returns the exit code."""
    node.mute(is_muted=True)
    if other := _wait_for_namesake(node, executor, stop):
        _refuse(f"{node.get_fully_qualified_name()} runs already, as {other}; stop it, or use another ROS_DOMAIN_ID")
        return _SECOND_NODE
    node.mute(is_muted=False)
    node.namesake.announce()
    stop.limit_s = node.close_limit_s
    stop.before_end(node.close)
    return _live(node, executor, stop)


def _nothing() -> None:
    """What is left to close when the node is closed."""


def _leave_the_graph() -> None:
    """Destroy the participant: only then others hear a good-bye, and its shared memory is freed.

    The context lives as long as anything of a node does, and nodes hold themselves in cycles.
    """
    rclpy.shutdown()
    gc.unfreeze()
    gc.collect()
    rclpy.get_default_context().destroy()


def _live(node: WhetstoneNode, executor: Any, stop: Stop) -> int:
    """Set the node up and spin until the process is to end; returns the exit code."""
    with stop.setting_up():
        node.autostart()
    state, reason, detail = node.status
    if state is State.ERROR and reason is Reason.BAD_PARAMETER and not node.active:
        # Nobody can put this right while it runs, and whoever has started it waits for it.
        _refuse(detail.removeprefix("on_setup: "))
        return _BAD_PARAMETERS
    while not stop.is_set:
        executor.spin_once(timeout_sec=_SPIN_TIMEOUT_S)
    return 0


def _refuse(why: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"refused to start: {why}\n")
        sys.stderr.flush()


def _wait_for_namesake(node: WhetstoneNode, executor: Any, stop: Stop) -> str:
    """Listen whether another process runs a node of this name; who it is, or empty."""
    end_s = time.monotonic() + node.param("second_node_check_s")
    while time.monotonic() < end_s and not node.namesake.text and not stop.is_set:
        executor.spin_once(timeout_sec=_SPIN_TIMEOUT_S)
    return node.namesake.text
