# SPDX-License-Identifier: Apache-2.0
"""Node that simulates a real arm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory
from vla_interfaces.srv import SimReset

from sim_bridge.core.arm import PANDA
from sim_bridge.core.commands import CommandRefusal, CommandRefused, Trajectory
from sim_bridge.core.scene import CAMERAS, TIMESTEP_S
from sim_bridge.core.session import SimSession
from sim_bridge.core.task_file import parse_task
from sim_bridge.core.tasks import TASKS, add_task
from sim_bridge.nodes import convert
from sim_bridge.nodes.lockstep import Lockstep
from sim_bridge.nodes.publisher import SimPublisher
from sim_bridge.nodes.realtime import Realtime
from sim_bridge.nodes.window import ViewerWindow
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_ns, to_time
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.progress import Progress

_REALTIME_ONLY = {"image_latency_s": 0.0, "state_latency_s": 0.0, "command_latency_s": 0.0, "real_time_factor": 1.0}


class SimDriver(Protocol):
    """Pacing of the simulation."""

    def start(self) -> None:
        """Start the simulation."""

    def stop(self) -> None:
        """Stop, and free the rendering resources."""

    def follow(self, trajectory: Trajectory, stamp_ns: int) -> None:
        """Execute an arm command that answers the state of `stamp_ns` (0: any)."""

    def set_opening(self, opening: float) -> None:
        """Execute a gripper command."""

    def reset(self, task: str, seed: int) -> int:
        """Start an episode; returns the stamp (ns) of its first state."""

    def hold(self) -> None:
        """Hold the current command."""


class SimNode(WhetstoneNode):
    """MuJoCo simulation with the topics of a real arm, a reset service and the ground truth."""

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        super().__init__("sim_node", package="sim_bridge", **kwargs)
        self._arm = PANDA
        self._pace: SimDriver | None = None
        self._session: SimSession | None = None

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Check the combination of parameters.

        Raises:
            ParameterError: The values contradict each other.
        """
        if not values["scene"] and values["task"] not in TASKS:
            raise ParameterError(f"task = {values['task']!r}: not one of {', '.join(TASKS)}, and there is no scene")
        unknown = [name for name in values["cameras"] if name not in CAMERAS]
        if unknown:
            raise ParameterError(f"cameras: no camera {unknown[0]!r}, there are {', '.join(CAMERAS)}")
        steps = 1.0 / values["control_hz"] / TIMESTEP_S
        if abs(steps - round(steps)) > 1e-6:
            raise ParameterError(
                f"control_hz = {values['control_hz']}: a tick of {steps} physics steps of {TIMESTEP_S} s"
            )
        if values["pace"] == "lockstep":
            for name, neutral in _REALTIME_ONLY.items():
                if values[name] != neutral:
                    raise ParameterError(f"{name} = {values[name]}: has no meaning in lockstep")
        elif values["real_time_factor"] != 1.0 and not values["publish_clock"]:
            raise ParameterError("real_time_factor other than 1 needs publish_clock, or stamps and motion disagree")

    def on_setup(self) -> None:
        """Create the session and the topics."""
        with Progress(self) as progress:
            progress.begin("building the scene")
            self._add_own_task()
            self._session = SimSession(
                self.param("task"),
                self.param("seed"),
                image_size=self.param("image_size_px"),
                control_hz=self.param("control_hz"),
                with_expert=self.param("publish_expert"),
            )
        window = ViewerWindow(wanted=self.param("viewer"))
        if self.param("viewer") and not window.is_open:
            self.get_logger().warning("viewer: there is no display, going on without a window")
        publisher = SimPublisher(self, self._arm, self.param("cameras"))
        kind = Lockstep if self.param("pace") == "lockstep" else Realtime
        self._pace = kind(self, self._session, publisher, window)
        for msg_type, parameter, callback in (
            (JointTrajectory, "trajectory_topic", self._on_trajectory),
            (Float64MultiArray, "forward_topic", self._on_forward),
            (Float64MultiArray, "gripper_topic", self._on_gripper),
        ):
            self.create_subscription(msg_type, self.param(parameter), callback, qos.COMMAND)
        self.create_service(SimReset, "sim/reset", self._on_reset)

    def _add_own_task(self) -> None:
        if not self.param("scene"):
            return
        try:
            add_task(parse_task(self.param("task"), self.param("scene")))
        except ValueError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"scene: {error}") from error

    def on_start(self) -> None:
        """Start the simulation."""
        if self._pace is None:
            raise RuntimeError("activated before it was configured")
        self._pace.start()
        self.set_state(State.READY)

    def on_stop(self) -> None:
        """Stop the simulation."""
        if self._pace is not None:
            self._pace.stop()

    def on_teardown(self) -> None:
        """Delete the session."""
        self._pace = None
        self._session = None

    def safe_action(self, reason: Reason) -> None:
        """Hold the current command, as a controller does without new commands."""
        if self._pace is not None:
            self._pace.hold()

    # ---- inputs ----------------------------------------------------------------------------------------------------

    def _on_trajectory(self, msg: JointTrajectory) -> None:
        stamp_ns = to_ns(msg.header.stamp)
        self._take(lambda pace: pace.follow(convert.trajectory_of(msg, self._arm), stamp_ns))

    def _on_forward(self, msg: Float64MultiArray) -> None:
        self._take(lambda pace: pace.follow(convert.forward_of(msg, self._arm), 0))

    def _on_gripper(self, msg: Float64MultiArray) -> None:
        self._take(lambda pace: pace.set_opening(convert.opening_of(msg)))

    def _take(self, action: Callable[[SimDriver], None]) -> None:
        try:
            if self._pace is None or not self.active:
                raise CommandRefused(CommandRefusal.INACTIVE, "the node is not active")
            action(self._pace)
        except CommandRefused as refused:
            counter = refused.refusal.value
            self.counters[counter] += 1
            if self.counters[counter] == 1:
                self.get_logger().warning(f"{counter}, counted from now on: {refused}")
        else:
            self.counters["commands"] += 1

    def _on_reset(self, request: SimReset.Request, response: SimReset.Response) -> SimReset.Response:
        if self._pace is None or self._session is None or not self.active:
            response.message = "the node is not active"
            return response
        task = request.task or self._session.world.task_name
        if task not in TASKS:
            response.message = f"no task {task!r}; there are {', '.join(TASKS)}"
            return response
        response.stamp = to_time(self._pace.reset(task, request.seed))
        response.success, response.reset_id = True, self._session.reset_id
        response.instruction = self._session.world.layout.instruction
        response.other_instruction = self._session.world.layout.other_instruction
        self.counters["resets"] += 1
        return response


def main() -> None:
    """Run the node."""
    run(SimNode)
