# SPDX-License-Identifier: Apache-2.0
"""Nodes in the test's own process: own context, own domain, one executor turned by the test itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from vla_interfaces.msg import NodeStatus

from harness.domains import DomainLock, stay_on_this_machine
from harness.until import NotReachedError
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos

# Read when the first context starts.
stay_on_this_machine(os.environ)

T = TypeVar("T")
_TURN_S = 0.01
DEADLINE_S = 20.0


class Rig:
    """A small graph that only moves while the test looks at it."""

    def __init__(self) -> None:
        """Take a domain and start a node for the test's own publishers and subscriptions."""
        self._lock = DomainLock()
        self.context = Context()
        self.context.init(domain_id=self._lock.domain_id)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes: list[Any] = []
        self.probe = Node("probe", context=self.context)
        self.executor.add_node(self.probe)

    def add(self, factory: Callable[..., T], *, begin: bool = True, **parameters: Any) -> T:
        """Make a node of ours with these parameters, and configure and activate it if it is to `begin`."""
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        node: Any = factory(context=self.context, parameter_overrides=overrides)
        self.nodes.append(node)
        self.executor.add_node(node)
        if begin:
            node.autostart()
        return node

    def hear(self, topic: str, kind: type[T], profile: Any = qos.RECORD) -> list[T]:
        """A list that fills with the messages of a topic."""
        heard: list[T] = []
        self.probe.create_subscription(kind, topic, heard.append, profile)
        return heard

    def voice(self, topic: str, kind: type, profile: Any = qos.RECORD) -> Callable[[Any], None]:
        """A function that publishes, once somebody listens."""
        publisher = self.probe.create_publisher(kind, topic, profile)

        def say(msg: Any) -> None:
            self.until(lambda: publisher.get_subscription_count() > 0, what=f"somebody listens to {topic}")
            publisher.publish(msg)

        return say

    def until(self, condition: Callable[[], T], deadline_s: float = DEADLINE_S, what: str = "condition") -> T:
        """Turn the executor until the condition is truthy.

        Raises:
            NotReachedError: The deadline passed.
        """
        end_s = time.monotonic() + deadline_s
        while not (value := condition()):
            if time.monotonic() > end_s:
                raise NotReachedError(f"not within {deadline_s:g} s: {what} (last value {value!r})")
            self.executor.spin_once(timeout_sec=_TURN_S)
        return value

    def turn(self, duration_s: float) -> None:
        """Turn the executor for a while, to show that something does not happen."""
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            self.executor.spin_once(timeout_sec=_TURN_S)

    def until_status(self, node: Any, state: State, reason: Reason | None = None) -> tuple[State, Reason, str]:
        """Wait until a node of ours is in a state, for a reason."""
        wanted = (state, reason)
        self.until(
            lambda: node.status[0] == state and reason in (None, node.status[1]),
            what=f"{node.get_name()} is {wanted}, it is {node.status}",
        )
        return node.status

    def close(self) -> None:
        """Close the nodes, then the context."""
        for node in self.nodes:
            node.close()
        self.executor.shutdown()
        for node in [*self.nodes, self.probe]:
            node.destroy_node()
        self.context.try_shutdown()
        self._lock.release()


def counters(status: NodeStatus) -> Mapping[str, int]:
    """Counters of a status message."""
    return dict(zip(status.counter_names, status.counters, strict=True))
