# SPDX-License-Identifier: Apache-2.0
"""A short visit to the graph that runs in this ROS domain: call a service, publish once, read statuses."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from vla_interfaces.msg import NodeStatus

from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.stack import own_environment
from whetstone_common.nodes import qos

# Discovery of a graph that runs takes well below a second on one machine.
WAIT_S = 5.0
_ASK_AGAIN_S = 1.0
_MATCHED_S = 1.0
_STATUS = "node_status"


class Graph:
    """Context manager around a node of the command line.

    Args:
        namespace: In which the stack runs, empty for none.
        wait_s: How long anything may take to be there, or to answer [s].
    """

    def __init__(self, namespace: str = "", wait_s: float = WAIT_S) -> None:
        self._namespace, self._wait_s = namespace, wait_s
        self.statuses: dict[str, tuple[float, NodeStatus]] = {}

    def __enter__(self) -> Graph:
        """Join the graph of the present environment."""
        os.environ.update(own_environment(None))
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.node: Node = rclpy.create_node(f"whetstone_cli_{os.getpid()}", namespace=self._namespace)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.node.create_subscription(NodeStatus, _STATUS, self._on_status, qos.RECORD)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown()

    def _on_status(self, msg: NodeStatus) -> None:
        self.statuses[msg.node.rsplit("/", 1)[-1]] = (time.monotonic(), msg)

    def spin_until(self, condition: Callable[[], Any], timeout_s: float | None = None) -> bool:
        """Spin until a condition holds; false when it did not in time."""
        end_s = time.monotonic() + (self._wait_s if timeout_s is None else timeout_s)
        while not condition():
            if time.monotonic() > end_s:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True

    def missing(self, what: str) -> UserError:
        """Error about something that is not in this graph."""
        domain = os.environ.get("ROS_DOMAIN_ID") or "0"
        where = f"ROS domain {domain}" + (f", namespace {self._namespace}" if self._namespace else "")
        hint = "Is the stack running, on this machine and with the same ROS_DOMAIN_ID? `whetstone up` starts it."
        if others := self._other_namespaces():
            hint = f"There are robots in {', '.join(others)}: say which with --namespace."
        return UserError(f"no {what} in {where} within {self._wait_s:g} s\n\n{hint}")

    def _other_namespaces(self) -> list[str]:
        """Namespaces, not ours, in which nodes of a stack say their status."""
        topics = [name for name, _ in self.node.get_topic_names_and_types() if name.endswith(f"/{_STATUS}")]
        spoken = {
            name.removesuffix(f"/{_STATUS}") or "no namespace" for name in topics if self.node.count_publishers(name)
        }
        return sorted(spoken - {self._namespace or "no namespace"})

    def ask(self, srv_type: Any, name: str, request: Any) -> Any:
        """Response of a service.

        Raises:
            UserError: It is not there, or does not answer in time.
        """
        client = self.node.create_client(srv_type, name)
        if not self.spin_until(client.service_is_ready):
            raise self.missing(name.split("/", 1)[0])
        end_s = time.monotonic() + self._wait_s
        while time.monotonic() < end_s:
            # A server that has not matched us yet answers to nobody; each of these requests may be repeated.
            future = client.call_async(request)
            if self.spin_until(future.done, _ASK_AGAIN_S):
                return future.result()
        raise UserError(f"{name} did not answer within {self._wait_s:g} s")

    def demand(self, srv_type: Any, name: str, request: Any) -> Any:
        """As `ask`, and a refusal is an error too.

        Raises:
            UserError: It is not there, does not answer in time, or refuses.
        """
        response = self.ask(srv_type, name, request)
        if not response.success:
            raise UserError(f"{name} refused: {response.message}")
        return response

    def publish(self, message: Any, topic: str, profile: Any, listener: str) -> None:
        """Publish one message when somebody listens, and wait until it has arrived.

        Raises:
            UserError: Nobody listens in time; `listener` says who should.
        """
        publisher = self.node.create_publisher(type(message), topic, profile)
        if not self.spin_until(publisher.get_subscription_count):
            raise self.missing(listener)
        # Each of those that are known shall hear it; one with another QoS never will, and is not waited for long.
        name = publisher.topic_name
        self.spin_until(lambda: publisher.get_subscription_count() >= self.node.count_subscribers(name), _MATCHED_S)
        publisher.publish(message)
        publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=self._wait_s))
