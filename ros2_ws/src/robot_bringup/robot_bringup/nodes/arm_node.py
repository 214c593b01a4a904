# SPDX-License-Identifier: Apache-2.0
"""The node that moves the arm, and the only one."""

from __future__ import annotations

import gc
import itertools
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from vla_interfaces.msg import ActionChunk, PolicyContract, Takeover
from vla_interfaces.srv import Arm as ArmService
from vla_interfaces.srv import Disarm, Pause, Query, Reset, Resume

from robot_bringup.core.arm import Arm
from robot_bringup.core.chunk_queue import Execution
from robot_bringup.core.estop import UNIDENTIFIED, EstopSources
from robot_bringup.core.outputs import ArmCommand, ArmOutputs, Now
from robot_bringup.core.settings import ArmSettings
from robot_bringup.core.state_machine import Refused
from robot_bringup.nodes import convert
from robot_bringup.nodes.arm_surroundings import ArmSurroundings
from robot_bringup.nodes.command_output import CommandOutput
from robot_bringup.nodes.control_loop import ControlLoop, raise_priority
from robot_bringup.nodes.executed_publisher import ExecutedPublisher
from robot_bringup.nodes.request_publisher import RequestPublisher
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.core.robot import Robot, RobotError
from whetstone_common.core.sources import identity_of
from whetstone_common.core.stage_latency import StageLatency, latency_values
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_contract, to_joint_message, to_ns
from whetstone_common.nodes.estop import estop_topics
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.robot_files import find_kinematics, find_robot
from whetstone_common.nodes.sources import Publishers, with_source, with_source_and_order

_HOUSEKEEPING_S = 0.05
_SURROUNDINGS_S = 1.0
_RAMP_DEADLINE_S = 1.0
# The interpreter hands the lock over this often; its default of 5 ms would be half a control period.
_SWITCH_INTERVAL_S = 0.0005


class ArmNode(WhetstoneNode):
    """Converts messages, asks the core, publishes what comes out."""

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        self._core: Arm | None = None
        self._loop: ControlLoop | None = None
        self._commands: CommandOutput | None = None
        self._estop = EstopSources()  # outlives a clean-up: only a reset forgets a press
        self._lock = threading.RLock()
        self._autoarm = False
        self._sending = False  # outlives `active` by the hold ramp
        super().__init__("arm_node", package="robot_bringup", **kwargs)

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Refuse a robot file with a hole in it, and modes that contradict each other.

        Raises:
            ParameterError: The set as a whole makes no sense.
        """
        try:
            find_robot(values["robot_file"])
        except RobotError as error:
            raise ParameterError(f"robot_file: {error}") from error
        asks_ahead = values["pace"] == "lockstep" and values["execution"] != "sync"
        if values["lockstep_delay_steps"] and not asks_ahead:
            raise ParameterError("lockstep_delay_steps has a meaning only with pace lockstep, execution async or rtc")

    def is_armed(self) -> bool:
        """Whether the arm may move: then limits and times stay as they are."""
        return self._core is not None and self._core.state.armed

    def parameters_changed(self, names: set[str]) -> None:
        """Hand the new settings to the core."""
        with self._lock:
            if self._core is not None:
                self._core.configure(self._settings())

    def on_setup(self) -> None:
        """Build the core and the topics."""
        robot = find_robot(self.param("robot_file")).in_namespace(self.get_namespace())
        self._core = Arm(robot, find_kinematics(robot), self._settings(), self.epoch_ns, self.counters)
        self._autoarm = self.param("autoarm")
        self._commands = CommandOutput(self, robot)
        self._requests = RequestPublisher(self)
        self._executed = ExecutedPublisher(self, self._episode)
        self._make_subscriptions(robot)
        self._make_services()
        for topic, profile in itertools.product(estop_topics(self), qos.ESTOP):
            self.create_subscription(Bool, topic, with_source_and_order(self._on_estop), profile)
        self._surroundings = ArmSurroundings(self, self._commands.topics)
        self.create_steady_timer(_SURROUNDINGS_S, self._on_surroundings)
        self.create_steady_timer(_HOUSEKEEPING_S, self._on_housekeeping)

    def _episode(self) -> int:
        return 0 if self._core is None else self._core.episode

    def _settings(self) -> ArmSettings:
        lockstep = self.param("pace") == "lockstep"
        slow = "lockstep_timeout_s"
        return ArmSettings(
            lockstep=lockstep,
            execution=Execution(self.param("execution")),
            control_dt_s=1.0 / self.param("command_rate_hz"),
            execute_steps=self.param("execute_steps"),
            blend_steps=self.param("blend_steps"),
            query_stride=self.param("query_stride"),
            query_always=self.param("query_always"),
            delay_steps=self.param("lockstep_delay_steps"),
            chunk_timeout_s=self.param("chunk_timeout_s"),
            chunk_open_loop_s=self.param("chunk_open_loop_s"),
            joint_timeout_s=self.param(slow if lockstep else "joint_timeout_s"),
            frozen_joints_s=self.param("frozen_joints_s"),
            takeover_timeout_s=self.param(slow if lockstep else "takeover_timeout_s"),
            takeover_stuck_s=self.param("takeover_stuck_s"),
            takeover_forget_s=self.param("takeover_forget_s"),
            dry_run=self.param("dry_run"),
            sim_time=self.uses_sim_time,
        )

    def _make_subscriptions(self, robot: Robot) -> None:
        sensor = qos.SENSOR_IN_RELIABLE if self.param("pace") == "lockstep" else qos.SENSOR_IN
        self._joint_drivers = Publishers(self, robot.joint_states_topic)
        self.create_subscription(JointState, robot.joint_states_topic, with_source(self._on_joint_state), sensor)
        self.create_subscription(ActionChunk, "action_chunk", self._on_chunk, qos.RING)
        self.create_subscription(Takeover, "takeover", self._on_takeover, qos.RING)
        self.watch_input("takeover", Takeover, qos.RING)
        self.create_subscription(PolicyContract, "policy_contract", self._on_contract, qos.LATCHED)

    def _make_services(self) -> None:
        self.create_service(ArmService, "~/arm", self._on_arm)
        self.create_service(Disarm, "~/disarm", self._on_disarm)
        self.create_service(Reset, "~/reset", self._on_reset)
        self.create_service(Resume, "~/resume", self._on_resume)
        self.create_service(Pause, "~/pause", self._on_pause)
        self.create_service(Query, "~/query", self._on_query)

    def on_start(self) -> None:
        """Begin to send, once armed and resumed."""
        self._sending = True
        if self.param("pace") == "realtime":
            sys.setswitchinterval(_SWITCH_INTERVAL_S)
            gc.collect()
            gc.freeze()  # what lives by now lives on: full collections get short
            period_s = 1.0 / self.param("command_rate_hz")
            self._raise_priority()
            self._loop = ControlLoop(period_s, self.guarded(self._control))
            self._loop.start()
        self._show_status()

    def _raise_priority(self) -> None:
        priority = self.param("realtime_priority")
        if priority and not raise_priority(priority):
            self.counters["realtime_priority_refused"] += 1
            self.get_logger().warning("no privilege for real-time scheduling: expect jitter on a busy machine")

    def on_stop(self) -> None:
        """Let the hold ramp end, then cease to send."""
        if self._loop is None:
            self._sending = False
            return
        deadline_s = time.monotonic() + _RAMP_DEADLINE_S
        while self._loop.is_alive and not self._at_rest() and time.monotonic() < deadline_s:
            self._loop.wait(_HOUSEKEEPING_S / 10.0)
        self._loop.stop()
        self._loop, self._sending = None, False

    def on_teardown(self) -> None:
        """Close the log and forget the arm."""
        if self._commands is not None:
            self._commands.close()
        self._commands = self._core = None

    def safe_action(self, reason: Reason) -> None:
        """Hold by ramp, and stay until a reset."""
        with self._lock:
            if self._core is not None:
                self._core.stop(reason)

    def _at_rest(self) -> bool:
        return self._core is None or self._core.at_rest

    def diagnostic_values(self) -> Mapping[str, object]:
        """Counters, and how long the stages from request to chunk took lately (ms)."""
        with self._lock:
            latencies = StageLatency() if self._core is None else self._core.latencies()
        # Summed up without the lock, which the control loop needs.
        return {**self.counters, **latency_values(latencies.summary())}

    # ---- the way through the core ------------------------------------------------------------------------------------

    def _now(self, steady_s: float | None = None) -> Now:
        return Now(time.monotonic() if steady_s is None else steady_s, self.get_clock().now().nanoseconds)

    def _do(self, event: Callable[[Arm, Now], ArmOutputs | None], steady_s: float | None = None) -> None:
        """Give the core an event, send what comes out, show the state."""
        with self._lock:
            if self._core is None or not self._sending:
                return
            out = event(self._core, self._now(steady_s)) or ArmOutputs()
            if self.param("pace") == "realtime":
                self._send(out.command)
            # A record must be out before the command that lets a lockstep world go on.
            for done in out.executed:
                self._executed.publish(done)
            for request in out.requests:
                self._requests.publish(convert.from_request(request))
            if self.param("pace") == "lockstep":
                self._send(out.command)
        self._show_status()

    def _ask_again(self) -> None:
        with self._lock:
            if self._core is not None:
                self._requests.repeat(self._core.waits_for)

    def _send(self, command: ArmCommand | None) -> None:
        if command is not None and self._commands is not None:
            self._commands.send(command)

    def _show_status(self) -> None:
        if self._core is None:
            return
        state, reason, detail = self._core.status
        told = state is State.ERROR and self.status[:2] == (state, reason)
        if not told:  # the report of an exception says more than the core knows
            self.set_state(state, reason, detail)

    # ---- events ------------------------------------------------------------------------------------------------------

    def _control(self, scheduled_s: float) -> None:
        self._do(lambda core, now: core.tick(now), scheduled_s)

    def _on_housekeeping(self) -> None:
        self._do(lambda core, now: core.watch(now))
        self._ask_again()
        if self._loop is not None:
            self.counters["late_periods"] = self._loop.late
            self.counters["skipped_periods"] = self._loop.skipped
        if self._autoarm:
            self._do(lambda core, now: core.autoarm(now))

    def _on_joint_state(self, msg: JointState, gid: bytes) -> None:
        message = to_joint_message(msg, self._joint_drivers.source(gid))
        self._do(lambda core, now: core.on_joint_state(message, now))

    def _on_chunk(self, msg: ActionChunk) -> None:
        chunk = convert.to_chunk(msg)
        self._do(lambda core, now: core.on_chunk(chunk, now))

    def _on_takeover(self, msg: Takeover) -> None:
        try:
            sample = convert.to_takeover(msg)
        except ReasonedError as error:
            self._refuse("takeover_refused", error)
            return
        self._do(lambda core, now: core.on_takeover(sample, now))

    def _on_estop(self, msg: Bool, gid: bytes, order: int) -> None:
        if not gid and not msg.data and len(self._surroundings.estop_sources()) > 1:
            return  # nobody knows whose release this is, so it releases nothing
        with self._lock:
            self._estop.update(identity_of(gid) or UNIDENTIFIED, order, pressed=msg.data)
        self._apply_estop()
        if msg.data:
            self._on_surroundings()  # after the stop: who it was

    def _apply_estop(self) -> None:
        """Stop or release; also while the node does not send, so that nothing pressed early is missed."""
        with self._lock:
            if self._core is None:
                return
            self._core.on_estop(pressed=self._estop.pressed, detail=self._estop.text)
        if self._sending:
            self._show_status()

    def _on_surroundings(self) -> None:
        """Look who else is in the graph."""
        # Asked for without the lock: the control loop must not wait for the middleware.
        sources, obstacle = self._surroundings.estop_sources(), self._surroundings.obstacle()
        with self._lock:
            self._estop.see(sources)
            if self._core is None:
                return
            self._core.on_obstacle(*obstacle)
        self._apply_estop()

    def _on_contract(self, msg: PolicyContract) -> None:
        try:
            contract = to_contract(msg)
        except ValueError as error:
            self._refuse("contract_refused", ReasonedError(Reason.CONTRACT_MISMATCH, f"policy_contract: {error}"))
            return
        self._do(lambda core, _now: core.on_contract(contract))

    def _refuse(self, counter: str, error: ReasonedError) -> None:
        self._do(lambda core, _now: core.refuse_message(counter, error))

    # ---- services ----------------------------------------------------------------------------------------------------

    def _answer(self, response: Any, action: Callable[[Arm, Now], ArmOutputs | None]) -> Any:
        """Try an action; a refusal is an answer."""
        if self._core is None or not self.active:
            response.message = "the node is not active"
            return response
        try:
            self._do(action)
        except Refused as refused:
            response.message = str(refused)
            return response
        response.success = True
        return response

    def _on_arm(self, request: ArmService.Request, response: ArmService.Response) -> ArmService.Response:
        response.epoch = self.epoch_ns
        self._on_surroundings()
        return self._answer(response, lambda core, now: core.arm(request.expected_contract, now))

    def _on_disarm(self, request: Disarm.Request, response: Disarm.Response) -> Disarm.Response:
        self._autoarm = False
        return self._answer(response, lambda core, _now: core.disarm(request.reason))

    def _on_reset(self, _request: Reset.Request, response: Reset.Response) -> Reset.Response:
        self._on_surroundings()
        with self._lock:
            self._estop.forget_vanished()
        self._apply_estop()
        return self._answer(response, lambda core, _now: core.reset())

    def _on_resume(self, request: Resume.Request, response: Resume.Response) -> Resume.Response:
        if self._commands is not None and (problem := self._commands.problem):
            response.message = problem
            return response
        self._answer(
            response,
            lambda core, now: core.resume(
                now,
                episode=request.episode,
                seed=request.seed,
                max_steps=request.max_steps,
                not_before_ns=to_ns(request.not_before),
            ),
        )
        response.epoch = self.epoch_ns
        response.episode = self._episode()
        return response

    def _on_pause(self, request: Pause.Request, response: Pause.Response) -> Pause.Response:
        self._answer(response, lambda core, _now: core.pause(detail=request.reason))
        response.steps = self._core.steps if self._core is not None else 0
        return response

    def _on_query(self, request: Query.Request, response: Query.Response) -> Query.Response:
        numbers = {"n_candidates": request.n_candidates, "edit_scale": request.edit_scale}
        return self._answer(response, lambda core, now: core.query(now, seed=request.seed, **numbers))


def main() -> None:
    """Run the node."""
    run(ArmNode)
