# SPDX-License-Identifier: Apache-2.0
"""The node that all of ours derive from: parameters by schema, guarded callbacks, a status with a reason."""

from __future__ import annotations

import functools
import os
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from vla_interfaces.msg import NodeStatus

from whetstone_common.core.clock import NO_CLOCK
from whetstone_common.core.parameters import ParameterError, Schema
from whetstone_common.core.reason import Reason, ReasonedError, State, sentence
from whetstone_common.nodes import qos
from whetstone_common.nodes.descriptors import descriptor_of
from whetstone_common.nodes.graph import rival_publishers, unheard_publishers
from whetstone_common.nodes.namesake import Namesake

_GRAPH_PERIOD_S = 1.0
_CLOCK_TOPIC = "/clock"
_WORKING = {State.STARTING, State.READY, State.RUNNING, State.HOLDING}
# What a node says of its inputs when in truth its own clock stands still.
_CLOCK_EXPLAINS = {
    Reason.NONE,
    Reason.MISSING_STREAM,
    Reason.STALE_OBSERVATION,
    Reason.BAD_MESSAGE,
    Reason.NO_CLOCK,
    Reason.OTHER_CLOCK,
}
_STATUS_PERIOD_S = 0.5
# Read by tests only: "<callback>:<n>" makes the n-th call of that callback raise.
_FAIL_ENV = "WHETSTONE_FAIL_CALLBACK"
_ROS_OWN = {"use_sim_time", "start_type_description_service"}


class InjectedFailure(RuntimeError):
    """Raised on request of a test."""


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
        self.guarded_names: list[str] = []
        self._calls: Counter[str] = Counter()
        self._tracebacks: set[str] = set()
        self._failing = os.environ.get(_FAIL_ENV, "")
        self._set_up: list[tuple[Callable[[Any], bool], Any]] | None = None
        self.status = (State.UNCONFIGURED, Reason.NONE, "")
        self.active = False
        self.muted = False  # while it is not sure that this process may run the node, it says nothing
        self._is_ours = False
        super().__init__(name, **kwargs)
        self._is_ours = True
        self.steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._values: dict[str, Any] = {}
        try:
            self.schema = _load_schema(name, package)
            self._declare()
        except ParameterError:
            # Whoever refuses must not leave half a node behind, which the traceback would keep alive.
            self.destroy_node()
            raise
        self._status_lock = threading.RLock()  # a set-up and what ends it run in two threads
        self._own_status = self.status  # what the node itself says, without what the graph adds
        self._graph_problem: tuple[Reason, str] = (Reason.NONE, "")
        self._inputs: list[tuple[str, type, QoSProfile]] = []
        self._sole_inputs: list[str] = []
        self.namesake = Namesake(self)
        self.create_steady_timer(_GRAPH_PERIOD_S, self._look_at_graph)
        self._status_publisher = self.create_publisher(NodeStatus, "node_status", qos.LATCHED)
        self.create_steady_timer(_STATUS_PERIOD_S, self.publish_status)

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
        return self._values[name]

    def _declare(self) -> None:
        overrides = {k: p.value for k, p in self._parameter_overrides.items() if k not in _ROS_OWN}
        given = self.schema.check(overrides)
        values = {name: spec.default for name, spec in self.schema.specs.items()} | given
        self.check_parameters(values)
        for name, spec in self.schema.specs.items():
            self.declare_parameter(name, values[name], descriptor_of(spec), ignore_override=True)
        self._values = values
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
            given = self.schema.check({p.name: p.value for p in parameters if p.name not in _ROS_OWN})
            for name in given:
                spec, now = self.schema.specs[name], self._values[name]
                if spec.read_only:
                    raise ParameterError(f"{name} is fixed at start, it is {now!r}: start the node anew to change it")
                if spec.locked_while_armed and self.is_armed():
                    raise ParameterError(f"{name} is locked while armed, it is {now!r}: disarm first")
            self.check_parameters(self._values | given)
        except ParameterError as error:
            self.counters["parameter_refused"] += 1
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _has_set(self, parameters: list[Parameter]) -> None:
        given = self.schema.check({p.name: p.value for p in parameters if p.name not in _ROS_OWN})
        self._values |= given
        if given:
            self.guarded(self.parameters_changed, listed=False)(set(given))

    # ---- guarded callbacks -----------------------------------------------------------------------------------------

    def guarded(self, callback: Callable[..., Any], *, listed: bool = True) -> Callable[..., Any]:
        """Wrap a callback so that its exception becomes a safe action, a state and a counter."""
        name = getattr(callback, "__name__", type(callback).__name__)
        if listed and self._is_ours:
            self.guarded_names.append(name)

        @functools.wraps(callback)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            try:
                self._maybe_fail(name)
                return callback(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - this is the boundary
                self.fail(name, error)
                # A service must answer; its response is the last argument, left at its defaults (success = false).
                return args[-1] if args and hasattr(args[-1], "success") else None

        return wrapper

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
        if where not in self._tracebacks:
            self._tracebacks.add(where)
            # A failure that knows its reason is a sentence; anything else is a bug, and its place is wanted.
            known = isinstance(error, ReasonedError)
            self.get_logger().error(f"{where}: {error if known else ''.join(traceback.format_exception(error))}")

    def _maybe_fail(self, name: str) -> None:
        if not self._failing:
            return
        self._calls[name] += 1
        if self._failing == f"{name}:{self._calls[name]}":
            raise InjectedFailure(f"call {self._calls[name]} of {name}")

    def create_subscription(self, msg_type: Any, topic: str, callback: Any, profile: Any, **kwargs: Any) -> Any:
        """As rclpy's, guarded."""
        made = super().create_subscription(msg_type, topic, self.guarded(callback), profile, **kwargs)
        return self._keep(self.destroy_subscription, made)

    def create_publisher(self, msg_type: Any, topic: str, profile: Any, **kwargs: Any) -> Any:
        """As rclpy's."""
        return self._keep(self.destroy_publisher, super().create_publisher(msg_type, topic, profile, **kwargs))

    def create_service(self, srv_type: Any, srv_name: str, callback: Any, **kwargs: Any) -> Any:
        """As rclpy's, guarded."""
        wrapped = self.guarded(callback) if self._is_ours else callback
        return self._keep(self.destroy_service, super().create_service(srv_type, srv_name, wrapped, **kwargs))

    def create_steady_timer(self, period_s: float, callback: Callable[[], None], **kwargs: Any) -> Any:
        """Timer on the steady clock, guarded: a stopped or jumping ROS clock does not stop it."""
        made = super().create_timer(period_s, self.guarded(callback), clock=self.steady_clock, **kwargs)
        return self._keep(self.destroy_timer, made)

    def _keep(self, destroy: Callable[[Any], bool], entity: Any) -> Any:
        """Note what the set-up hook creates, so that a clean-up leaves nothing that would be doubled later."""
        if getattr(self, "_set_up", None) is not None:
            self._set_up.append((destroy, entity))
        return entity

    def _destroy_set_up(self) -> None:
        made, self._set_up, self._inputs = self._set_up or [], None, []
        self._sole_inputs = []
        for destroy, entity in reversed(made):
            destroy(entity)

    # ---- status ----------------------------------------------------------------------------------------------------

    def set_state(
        self, state: State, reason: Reason = Reason.NONE, detail: str = "", *, is_logged: bool = True
    ) -> None:
        """Change state; published at once, and logged when it is news, unless it shall not be."""
        with self._status_lock:
            # The last state stays, whatever a thread says that has not noticed the end yet.
            if self._own_status[0] is State.FINALIZED:
                return
            self._own_status = (state, reason, detail)
            self._show_own_status(is_logged=is_logged)

    def _show_own_status(self, *, is_logged: bool = True) -> None:
        status = self._with_graph_problem(*self._own_status)
        if status == self.status:
            return
        # The detail of a start says what is waited for; in other states it may hold a figure that changes all the time.
        news = self.status[:2] != status[:2] or status[0] is State.STARTING
        self.status = status
        if news and is_logged:
            self.get_logger().info(sentence(*status))
        self.publish_status()

    def _with_graph_problem(self, state: State, reason: Reason, detail: str) -> tuple[State, Reason, str]:
        """A second node of this name is an error whatever this one does; an unheard publisher is shown as a reason."""
        problem, text = self._graph_problem
        if problem is Reason.SECOND_NODE and state is not State.FINALIZED:
            return State.ERROR, problem, text
        if problem is Reason.NO_CLOCK and reason in _CLOCK_EXPLAINS and state in _WORKING:
            return state, problem, text
        if problem is not Reason.NONE and reason is Reason.NONE and state in (State.READY, State.RUNNING):
            return state, problem, text
        return state, reason, detail

    # ---- the graph -------------------------------------------------------------------------------------------------

    def watch_input(self, topic: str, msg_type: type, profile: QoSProfile, *, sole: bool = False) -> None:
        """Show publishers of an input that matters which the subscription with this profile cannot hear.

        Args:
            topic: As it was subscribed to.
            msg_type: Its message class.
            profile: Of the subscription.
            sole: Show a second publisher too, by name.
        """
        self._inputs.append((topic, msg_type, profile))
        if sole:
            self._sole_inputs.append(topic)

    def on_namesake(self) -> None:
        """Another process runs a node of this name: nobody can tell whose messages are whose, so work ends."""
        if self._graph_problem[0] is not Reason.SECOND_NODE:
            self.counters["second_node"] += 1
            self.safe_action(Reason.SECOND_NODE)
        self._look_at_graph()

    @property
    def uses_sim_time(self) -> bool:
        """Whether this node's clock follows /clock."""
        return bool(self.get_parameter("use_sim_time").value)

    def _look_at_graph(self) -> None:
        problem = self._find_graph_problem()
        with self._status_lock:
            self._graph_problem = problem
            self._show_own_status()

    def _find_graph_problem(self) -> tuple[Reason, str]:
        if who := self.namesake.text:
            name = self.get_fully_qualified_name()
            return Reason.SECOND_NODE, f"two of them: {name} runs also as {who}; stop one"
        if self.uses_sim_time and not self.count_publishers(_CLOCK_TOPIC):
            return Reason.NO_CLOCK, NO_CLOCK
        unheard = [text for each in self._inputs for text in unheard_publishers(self, *each)]
        if unheard:
            self.counters["unheard_publishers"] = max(len(unheard), self.counters["unheard_publishers"])
            return Reason.INCOMPATIBLE_PUBLISHER, unheard[0]
        if rivals := [text for topic in self._sole_inputs if (text := rival_publishers(self, topic))]:
            self.counters["second_source"] = max(len(rivals), self.counters["second_source"])
            return Reason.SECOND_SOURCE, rivals[0]
        return Reason.NONE, ""

    def publish_status(self) -> None:
        """Publish state, reason and counters."""
        if self.muted:
            return
        state, reason, detail = self.status
        counters = dict(self.counters)
        self._status_publisher.publish(
            NodeStatus(
                node=self.get_fully_qualified_name(),
                node_epoch=self.epoch_ns,
                state=int(state),
                reason=int(reason),
                detail=detail,
                counter_names=list(counters),
                counters=list(counters.values()),
                time=self.get_clock().now().to_msg(),
            )
        )

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
        self._set_up = []
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
            self._destroy_set_up()

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


def _load_schema(name: str, package: str) -> Schema:
    own, common = (Path(get_package_share_directory(each)) / "config" for each in (package, "whetstone_common"))
    return Schema.load(own / f"{name}_params.yaml", include=common / "common_params.yaml")


def guarded_callbacks(node: WhetstoneNode) -> Iterable[str]:
    """Names of all guarded callbacks, for tests that walk them."""
    return tuple(dict.fromkeys(node.guarded_names))
