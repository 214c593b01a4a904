# SPDX-License-Identifier: Apache-2.0
"""What the fakes share: told by parameter, and a status so that a test can wait for them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import rclpy
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.timer import Timer
from vla_interfaces.msg import NodeStatus

from whetstone_common.nodes import qos

_STATUS_PERIOD_S = 0.2
_PRIORITY = 40


class FakeNode(Node):
    """A plain ROS node, on purpose without the guards of our own base."""

    def __init__(self, name: str, defaults: Mapping[str, Any]) -> None:
        """Declare parameters; `told` keeps their present values."""
        super().__init__(name)
        self.told: dict[str, Any] = {}
        self.epoch_ns = time.time_ns()
        self.steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        free = ParameterDescriptor(dynamic_typing=True)
        for key, value in defaults.items():
            self.told[key] = self.declare_parameter(key, value, free).value
        self.add_on_set_parameters_callback(self._on_told)
        self._status = self.create_publisher(NodeStatus, "node_status", qos.LATCHED)
        # Repeated, because a latched sample can reach a late reader as late as the middleware's next heartbeat (3 s).
        self.every(_STATUS_PERIOD_S, self.ready)

    def _on_told(self, parameters: list[Parameter]) -> SetParametersResult:
        self.told |= {parameter.name: parameter.value for parameter in parameters}
        self.on_told({parameter.name for parameter in parameters})
        return SetParametersResult(successful=True)

    def on_told(self, names: set[str]) -> None:
        """Parameters have changed."""

    def every(self, period_s: float, callback: Callable[[], None]) -> Timer:
        """Steady timer."""
        return self.create_timer(period_s, callback, clock=self.steady_clock)

    def when_asked(self, period_s: float, callback: Callable[[], bool]) -> Timer:
        """Steady timer that runs from each `reset()` until `callback` says that nothing is left to do.

        A fake goes before whatever else computes, so it must not poll while nothing is due.
        """

        def look() -> None:
            if not callback():
                timer.cancel()

        timer = self.every(period_s, look)
        timer.cancel()
        return timer

    def ready(self) -> None:
        """Tell the watcher that this fake works."""
        status = NodeStatus(node=self.get_fully_qualified_name(), node_epoch=self.epoch_ns, state=NodeStatus.READY)
        self._status.publish(status)


def run(factory: Callable[[], FakeNode]) -> None:
    """Entry point of a fake."""
    # Drives, cameras and people do not wait for a free core; threads of the middleware inherit this.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    rclpy.init()
    node = factory()
    try:
        rclpy.spin(node)
    except (ExternalShutdownException, KeyboardInterrupt):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
