# SPDX-License-Identifier: Apache-2.0
"""A node that serves several robots, as one of them sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from whetstone_common.core.namespace import absolute_namespace, with_namespace
from whetstone_common.core.node_status import Status
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes.callback_guard import CallbackGuard
from whetstone_common.nodes.graph import rival_publishers
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.status_reporter import StatusReporter

_CHECK_PERIOD_S = 1.0


class SharedTimers:
    """One timer of a node for each period, however many robots it serves: rcl complains of more than ten.

    Args:
        node: That owns them.
    """

    def __init__(self, node: WhetstoneNode) -> None:
        self._node = node
        self._callbacks: dict[float, list[Callable[[], None]]] = {}

    def every(self, period_s: float, callback: Callable[[], None]) -> None:
        """Call this as well, every so many seconds."""
        callbacks = self._callbacks.setdefault(period_s, [])
        callbacks.append(callback)
        if len(callbacks) == 1:
            self._node.create_steady_timer(period_s, lambda: _call_all(callbacks))


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()


class RobotView:
    """The part of a node that its robot deals with: topics in the robot's namespace, counters and a status of its own.

    Args:
        node: That serves the robot.
        timers: Of the node, shared by all robots.
        namespace: Of the robot.
        sole_output: Topic on which no other node may speak to the robot.
    """

    def __init__(self, node: WhetstoneNode, timers: SharedTimers, namespace: str, sole_output: str) -> None:
        self._node, self._timers = node, timers
        self._namespace, self._sole_output = absolute_namespace(namespace), sole_output
        self.epoch_ns = node.epoch_ns
        self.counters: Counter[str] = Counter()
        self._guard = CallbackGuard()
        self._reporter = StatusReporter(self)
        self.create_steady_timer(_CHECK_PERIOD_S, self.check)

    # ---- as of the node ----------------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether the node works."""
        return self._node.active

    def param(self, name: str) -> Any:
        """Current value of a parameter of the node."""
        return self._node.param(name)

    def get_clock(self) -> Any:
        """Of the node."""
        return self._node.get_clock()

    # ---- of the robot ------------------------------------------------------------------------------------------------

    def get_namespace(self) -> str:
        """Of the robot."""
        return self._namespace

    def get_fully_qualified_name(self) -> str:
        """What the node would be called if it ran for this robot alone."""
        return f"{self._namespace}/{self._node.get_name()}"

    def get_logger(self) -> Any:
        """Of the robot."""
        return self._node.get_logger().get_child(self._namespace.strip("/").replace("/", "."))

    def create_subscription(self, msg_type: Any, topic: str, callback: Any, profile: Any) -> Any:
        """In the robot's namespace; an exception of the callback is a failure for this robot alone."""
        topic = with_namespace(topic, self._namespace)
        return self._node.create_subscription(msg_type, topic, self.guarded(callback), profile)

    def create_publisher(self, msg_type: Any, topic: str, profile: Any) -> Any:
        """In the robot's namespace."""
        return self._node.create_publisher(msg_type, with_namespace(topic, self._namespace), profile)

    def create_client(self, srv_type: Any, srv_name: str) -> Any:
        """Of a service in the robot's namespace."""
        return self._node.create_client(srv_type, with_namespace(srv_name, self._namespace))

    def guarded(self, callback: Callable[..., Any], **_listed: bool) -> Callable[..., Any]:
        """Wrap a callback so that its exception is a failure for this robot alone."""
        return self._guard.wrap(callback, self.fail, is_listed=False)

    def create_steady_timer(self, period_s: float, callback: Callable[[], None]) -> None:
        """An exception of the callback is a failure for this robot alone."""
        self._timers.every(period_s, self.guarded(callback))

    def fail(self, where: str, error: BaseException) -> None:
        """As the node's `fail`, for this robot alone."""
        reason = error.reason if isinstance(error, ReasonedError) else Reason.CALLBACK_EXCEPTION
        self.counters["callback_exceptions"] += 1
        if text := self._guard.text_once(where, error):
            self.get_logger().error(text)
        self.set_state(State.ERROR, reason, f"{where}: {error}")

    @property
    def status(self) -> Status:
        """State, reason and detail as they are shown to the robot."""
        return self._reporter.status

    def set_state(
        self, state: State, reason: Reason = Reason.NONE, detail: str = "", *, is_logged: bool = True
    ) -> None:
        """Change the state that the robot is shown."""
        self._reporter.set_state(state, reason, detail, is_logged=is_logged)

    def mute(self, *, is_muted: bool) -> None:
        """As the node's."""
        self._reporter.is_muted = is_muted

    def diagnostic_values(self) -> Mapping[str, object]:
        """Figures by name that are shown in the diagnostics of the robot."""
        return dict(self.counters)

    def check(self) -> None:
        """Show the robot who else runs the node, or speaks in its place."""
        _, reason, detail = self._node.status
        problem = (reason, detail) if reason is Reason.SECOND_NODE else (Reason.NONE, "")
        if problem[0] is Reason.NONE:
            text = rival_publishers(self._node, with_namespace(self._sole_output, self._namespace))
            problem = (Reason.SECOND_SOURCE, text) if text else problem
        self._reporter.set_graph_problem(problem)


Side: TypeAlias = WhetstoneNode | RobotView
