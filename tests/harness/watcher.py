# SPDX-License-Identifier: Apache-2.0
"""Ears and hands of a test inside its ROS domain: status of all nodes, any topic, services and parameters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from vla_interfaces.msg import NodeStatus

from harness.oracle import Status
from harness.until import until
from whetstone_common.core.reason import Reason, State

T = TypeVar("T")
LATCHED = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RELIABLE = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
_STATES = {int(state): state.name for state in State}
_REASONS = {int(reason): reason.name for reason in Reason}


class Watcher:
    """A node in its own context and thread, so that the test can wait while it listens."""

    def __init__(self, domain_id: int) -> None:
        """Join the domain and listen to `node_status`."""
        self.statuses: list[Status] = []
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self.node = Node("watcher", context=self._context, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self._publishers: dict[str, Any] = {}
        self._goals: list[ActionClient] = []
        self._adopted: list[Node] = []
        self.node.create_subscription(NodeStatus, "node_status", self._on_status, LATCHED)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="watcher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave the domain."""
        self._closing.set()
        self._thread.join(timeout=5.0)
        self._executor.shutdown()
        for client in self._goals:
            client.destroy()
        for node in (*self._adopted, self.node):
            node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        while not self._closing.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _on_status(self, msg: NodeStatus) -> None:
        self.statuses.append(to_status(msg, time.monotonic_ns()))

    def adopt(self, make: Callable[[Context], T]) -> T:
        """Let a node of a test live in this thread and domain."""
        node: Any = make(self._context)
        self._executor.add_node(node)
        self._adopted.append(node)
        return node  # type: ignore[no-any-return]

    # ---- states ----------------------------------------------------------------------------------------------------

    def latest(self, node: str) -> Status | None:
        """Newest status of a node."""
        return next((status for status in reversed(self.statuses) if status.node == node), None)

    def wait_state(
        self, node: str, states: str | Sequence[str], deadline_s: float = 30.0, *, after_ns: int = 0, reason: str = ""
    ) -> Status:
        """Wait until the newest status of a node has one of the states.

        Args:
            node: Name without namespace.
            states: Accepted state names.
            deadline_s: How long.
            after_ns: Statuses from before this (of a dead process) do not count.
            reason: Required reason name, empty for any.
        """
        wanted = (states,) if isinstance(states, str) else tuple(states)

        def reached() -> Status | None:
            now = self.latest(node)
            fits = now is not None and now.t_ns >= after_ns and now.state in wanted
            return now if fits and reason in ("", now.reason) else None

        try:
            return until(reached, deadline_s, f"{node} in {'/'.join(wanted)} {reason}")
        except AssertionError as error:
            raise AssertionError(f"{error}; newest status: {self.latest(node)}") from error

    # ---- topics ----------------------------------------------------------------------------------------------------

    def listen(self, msg_type: Any, topic: str, qos: QoSProfile = RELIABLE) -> list[tuple[int, Any]]:
        """Record a topic: a list that grows by (CLOCK_MONOTONIC of reception, message)."""
        heard: list[tuple[int, Any]] = []
        self.node.create_subscription(msg_type, topic, lambda msg: heard.append((time.monotonic_ns(), msg)), qos)
        return heard

    def say(self, message: Any, topic: str, qos: QoSProfile = RELIABLE, *, deadline_s: float = 10.0) -> int:
        """Publish once somebody listens; returns CLOCK_MONOTONIC before it."""
        publisher = self._publishers.get(topic)
        if publisher is None:
            publisher = self._publishers[topic] = self.node.create_publisher(type(message), topic, qos)
        until(lambda: publisher.get_subscription_count() > 0, deadline_s, f"someone reads {topic}")
        at_ns = time.monotonic_ns()
        publisher.publish(message)
        return at_ns

    # ---- services --------------------------------------------------------------------------------------------------

    def call(self, srv_type: Any, name: str, deadline_s: float = 10.0, **fields: Any) -> Any:
        """Call a service and return its response."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self.node.create_client(srv_type, name)
        until(client.service_is_ready, deadline_s, f"service {name}")
        future = client.call_async(srv_type.Request(**fields))
        until(future.done, deadline_s, f"answer of {name}")
        return future.result()

    def send_goal(self, action_type: Any, name: str, deadline_s: float = 30.0, **fields: Any) -> Any:
        """Send an action goal; returns its handle once it is accepted."""
        client = ActionClient(self.node, action_type, name)
        until(client.server_is_ready, deadline_s, f"action {name}")
        future = client.send_goal_async(action_type.Goal(**fields))
        until(future.done, deadline_s, f"answer of {name}")
        handle = future.result()
        assert handle.accepted, f"{name} refused the goal"
        self._goals.append(client)
        return handle

    def tell(self, node: str, **values: Any) -> None:
        """Set parameters of a node; how a fake is told to fail.

        Raises:
            AssertionError: The node refused.
        """
        results = self.set_parameters(node, **values)
        refused = [result.reason for result in results if not result.successful]
        assert not refused, f"{node} refused: {refused}"

    def set_parameters(self, node: str, **values: Any) -> list[Any]:
        """Ask for new parameter values and return the results."""
        messages = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        return list(self.call(SetParameters, f"{node}/set_parameters", parameters=messages).results)


def to_status(msg: NodeStatus, t_ns: int) -> Status:
    """Plain form of a status message."""
    counters = {name: int(value) for name, value in zip(msg.counter_names, msg.counters, strict=True)}
    return Status(
        t_ns=t_ns,
        node=msg.node.rpartition("/")[2],
        state=_STATES.get(msg.state, str(msg.state)),
        reason=_REASONS.get(msg.reason, str(msg.reason)),
        detail=msg.detail,
        counters=counters,
        node_epoch=msg.node_epoch,
    )
