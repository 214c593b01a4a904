# SPDX-License-Identifier: Apache-2.0
"""The node that all of ours derive from: parameters by schema, guarded callbacks, a status with a reason."""

from __future__ import annotations

import functools
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from whetstone_common.core.node_status import Status
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes.callback_guard import CallbackGuard
from whetstone_common.nodes.descriptors import descriptor_of
from whetstone_common.nodes.graph_monitor import GraphMonitor
from whetstone_common.nodes.namesake import Namesake
from whetstone_common.nodes.node_parameters import NodeParameters, load_schema
from whetstone_common.nodes.set_up_entities import SetUpEntities
from whetstone_common.nodes.status_reporter import StatusReporter

_GRAPH_PERIOD_S = 1.0


class WhetstoneNode(LifecycleNode):
    """Lifecycle node with one set-up hook, one tear-down hook and one safe-action hook.

    Derived classes override `on_setup`, `on_start`, `on_stop`, `on_teardown`, `safe_action`, `check_parameters`.
    Every callback handed to `create_subscription`, `create_steady_timer` and `create_service` is guarded: an exception
    leads to `safe_action`, state ERROR with a reason, a counter and one traceback in the log; it never leaves the
    executor.
    """

    # The process is gone so long after it was asked to end, closed or not; more where data are written.
    close_limit_s = 1.8

    def __init__(self, name: str, *, package: str, **kwargs: Any) -> None:
        """Declare all parameters of `<share of package>/config/<name>_params.yaml`.

        Args:
            name: Node name and stem of the schema file.
            package: Package whose share directory holds the schema.
            kwargs: Passed on to the ROS node (context, namespace, parameter_overrides...).

        Raises:
            ParameterError: A given value is unknown, of the wrong type, not finite or out of range.
        """
        # Before the ROS node: with use_sim_time it subscribes to /clock while it is being made.
        self.epoch_ns = time.time_ns()
        self.counters: Counter[str] = Counter()
        self.active = False
        self._guard = CallbackGuard()
        self._set_up = SetUpEntities()
        self._is_ours = False
        super().__init__(name, **kwargs)
        self._is_ours = True
        self.steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        try:
            self._declare(name, package)
        except ParameterError:
            # Whoever refuses must not leave half a node behind, which the traceback would keep alive.
            self.destroy_node()
            raise
        self.namesake = Namesake(self)
        self._graph = GraphMonitor(self, self.namesake, self.counters)
        self.create_steady_timer(_GRAPH_PERIOD_S, self._look_at_graph)
        self._reporter = StatusReporter(self)

    # ---- hooks -----------------------------------------------------------------------------------------------------

    def on_setup(self) -> None:
        """Create what the node needs; may raise."""

    def on_start(self) -> None:
        """Begin to work; may raise."""

    def on_stop(self) -> None:
        """Cease to work."""

    def on_teardown(self) -> None:
        """Release everything; must cope with a half-finished set-up."""

    def safe_action(self, reason: Reason) -> None:
        """Bring whatever the node drives into a safe state."""

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Cross-field checks.

        Raises:
            ParameterError: The set as a whole makes no sense.
        """

    def parameters_changed(self, names: set[str]) -> None:
        """React to accepted changes; `param` already returns the new values."""

    def is_armed(self) -> bool:
        """Whether parameters that are locked while armed must stay as they are."""
        return False

    # ---- parameters ------------------------------------------------------------------------------------------------

    def param(self, name: str) -> Any:
        """Current value of a parameter."""
        return self._checked.values[name]

    @property
    def parameter_values(self) -> Mapping[str, Any]:
        """Current values of all parameters, by name."""
        return self._checked.values

    def _declare(self, name: str, package: str) -> None:
        schema = load_schema(name, package)
        self._checked = NodeParameters(schema, self._parameter_overrides, self.check_parameters)
        for each, spec in schema.specs.items():
            self.declare_parameter(each, self.param(each), descriptor_of(spec), ignore_override=True)
        self.add_on_set_parameters_callback(self._may_set)
        self.add_post_set_parameters_callback(self._has_set)

    def set_parameters(self, parameter_list: list[Parameter]) -> list[SetParametersResult]:
        """As rclpy's, with our refusals."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """As rclpy's, but what the schema refuses is refused in its words.

        rclpy compares with the descriptor before it asks any callback, and a user would read its sentence instead.
        """
        # Undeclared ones are left to rclpy, which raises.
        if self._is_ours and all(self.has_parameter(parameter.name) for parameter in parameter_list):
            result = self._may_set(parameter_list)
            if not result.successful:
                return result
        return super().set_parameters_atomically(parameter_list)

    def _may_set(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            self._checked.check(parameters, is_armed=self.is_armed)
        except ParameterError as error:
            self.counters["parameter_refused"] += 1
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _has_set(self, parameters: list[Parameter]) -> None:
        if names := self._checked.take(parameters):
            self.guarded(self.parameters_changed, listed=False)(names)

    # ---- guarded callbacks -----------------------------------------------------------------------------------------

    @property
    def guarded_names(self) -> list[str]:
        """Names of the guarded callbacks."""
        return self._guard.names

    def guarded(self, callback: Callable[..., Any], *, listed: bool = True) -> Callable[..., Any]:
        """Wrap a callback so that its exception becomes a safe action, a state and a counter."""
        return self._guard.wrap(callback, self.fail, is_listed=listed and self._is_ours)

    def fail(self, where: str, error: BaseException) -> None:
        """Report an exception of a callback or a thread: safe action, counter, state ERROR, one traceback.

        Never raises: it is the last thing that stands between a bug and the end of the process.
        """
        reason = error.reason if isinstance(error, ReasonedError) else Reason.CALLBACK_EXCEPTION
        self.counters["callback_exceptions"] += 1
        self._log_once(where, error)
        try:
            self.safe_action(reason)
        except Exception as worse:  # noqa: BLE001 - the state must still change
            self._log_once("safe_action", worse)
        try:
            self.set_state(State.ERROR, reason, f"{where}: {error}")
        except Exception as worse:  # noqa: BLE001 - nothing is left to tell anyone but the log
            self._log_once("set_state", worse)

    def _log_once(self, where: str, error: BaseException) -> None:
        if text := self._guard.text_once(where, error):
            self.get_logger().error(text)

    def create_subscription(self, msg_type: Any, topic: str, callback: Any, profile: Any, **kwargs: Any) -> Any:
        """As rclpy's, guarded."""
        made = super().create_subscription(msg_type, topic, self.guarded(callback), profile, **kwargs)
        return self._set_up.keep(self.destroy_subscription, made)

    def create_publisher(self, msg_type: Any, topic: str, profile: Any, **kwargs: Any) -> Any:
        """As rclpy's."""
        return self._set_up.keep(self.destroy_publisher, super().create_publisher(msg_type, topic, profile, **kwargs))

    def create_service(self, srv_type: Any, srv_name: str, callback: Any, **kwargs: Any) -> Any:
        """As rclpy's, guarded."""
        wrapped = self.guarded(callback) if self._is_ours else callback
        return self._set_up.keep(self.destroy_service, super().create_service(srv_type, srv_name, wrapped, **kwargs))

    def create_steady_timer(self, period_s: float, callback: Callable[[], None], **kwargs: Any) -> Any:
        """Timer on the steady clock, guarded: a stopped or jumping ROS clock does not stop it."""
        made = super().create_timer(period_s, self.guarded(callback), clock=self.steady_clock, **kwargs)
        return self._set_up.keep(self.destroy_timer, made)

    # ---- status ----------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """State, reason and detail as they are shown."""
        return self._reporter.status

    def set_state(
        self, state: State, reason: Reason = Reason.NONE, detail: str = "", *, is_logged: bool = True
    ) -> None:
        """Change state; published at once, and logged when it is news, unless it shall not be."""
        self._reporter.set_state(state, reason, detail, is_logged=is_logged)

    def mute(self, *, is_muted: bool) -> None:
        """Publish no status while it is not sure that this process may run the node."""
        self._reporter.is_muted = is_muted

    def diagnostic_values(self) -> Mapping[str, object]:
        """Figures by name that are shown in the diagnostics."""
        return dict(self.counters)

    # ---- the graph -------------------------------------------------------------------------------------------------

    def watch_input(self, topic: str, msg_type: type, profile: QoSProfile, *, sole: bool = False) -> None:
        """Show publishers of an input that matters which the subscription with this profile cannot hear.

        Args:
            topic: As it was subscribed to.
            msg_type: Its message class.
            profile: Of the subscription.
            sole: Show a second publisher too, by name.
        """
        self._graph.watch(topic, msg_type, profile, sole=sole)

    def on_namesake(self) -> None:
        """Another process runs a node of this name: nobody can tell whose messages are whose, so work ends."""
        if self._reporter.graph_problem[0] is not Reason.SECOND_NODE:
            self.counters["second_node"] += 1
            self.safe_action(Reason.SECOND_NODE)
        self._look_at_graph()

    @property
    def uses_sim_time(self) -> bool:
        """Whether this node's clock follows /clock."""
        return bool(self.get_parameter("use_sim_time").value)

    def _look_at_graph(self) -> None:
        self._reporter.set_graph_problem(self._graph.problem())

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def autostart(self) -> None:
        """Configure and activate, when the parameter of that name says so."""
        if not self.param("autostart"):
            return
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Run the set-up hook."""
        self.set_state(State.STARTING)
        self._set_up.begin()
        return self._transition(self.on_setup, undo=self._undo_setup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run the start hook."""
        super().on_activate(state)
        result = self._transition(self.on_start, undo=self.on_stop)
        self.active = result == TransitionCallbackReturn.SUCCESS
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Safe action, then the stop hook."""
        self.active = False
        self.safe_action(Reason.SHUTDOWN)
        super().on_deactivate(state)
        result = self._transition(self.on_stop)
        self.set_state(State.STARTING, Reason.SHUTDOWN)
        return result

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Run the tear-down hook."""
        result = self._transition(self._undo_setup)
        self.set_state(State.UNCONFIGURED)
        return result

    def _undo_setup(self) -> None:
        try:
            self.on_teardown()
        finally:
            self._graph.forget()
            self._set_up.destroy()

    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Safe action and tear-down."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Safe action, stop, tear down; safe to call in any state and more than once."""
        if self.status[0] == State.FINALIZED:
            return
        self.active = False
        for step in (functools.partial(self.safe_action, Reason.SHUTDOWN), self.on_stop, self.on_teardown):
            try:
                step()
            except Exception:  # noqa: BLE001 - the remaining steps must still run
                self.get_logger().error(traceback.format_exc())
        self.set_state(State.FINALIZED, Reason.SHUTDOWN)

    def _transition(self, hook: Callable[[], None], undo: Callable[[], None] | None = None) -> TransitionCallbackReturn:
        try:
            hook()
        except Exception as error:  # noqa: BLE001 - reported in full, never swallowed
            self.fail(hook.__name__, error)
            if undo is not None:
                self._transition(undo)
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS


def guarded_callbacks(node: WhetstoneNode) -> Iterable[str]:
    """Names of all guarded callbacks, for tests that walk them."""
    return tuple(dict.fromkeys(node.guarded_names))
