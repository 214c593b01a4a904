# SPDX-License-Identifier: Apache-2.0
"""The node that stands in for a real arm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory
from vla_interfaces.srv import SimReset

from sim_bridge.core.arm import PANDA
from sim_bridge.core.cell import Cell
from sim_bridge.core.commands import CommandRefused, Refusal, Trajectory
from sim_bridge.core.scene import CAMERAS, TIMESTEP_S
from sim_bridge.core.tasks import TASKS
from sim_bridge.nodes import convert
from sim_bridge.nodes.lockstep import Lockstep
from sim_bridge.nodes.outlet import Outlet
from sim_bridge.nodes.realtime import Realtime
from sim_bridge.nodes.window import Window
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_ns, to_time
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.progress import Progress

_REALTIME_ONLY = {"image_latency_s": 0.0, "state_latency_s": 0.0, "command_latency_s": 0.0, "real_time_factor": 1.0}


class Pace(Protocol):
    """How time passes."""

    def start(self) -> None:
        """Let time pass."""

    def stop(self) -> None:
        """Let it pass no more, and free what was used for drawing."""

    def follow(self, trajectory: Trajectory, stamp_ns: int) -> None:
        """Take an arm command, which answers the state of `stamp_ns` (0: any)."""

    def set_opening(self, opening: float) -> None:
        """Take a gripper command."""

    def reset(self, task: str, seed: int) -> int:
        """Start an episode; stamp (ns) of its first state."""

    def hold(self) -> None:
        """Stop where the command is now."""


class SimNode(WhetstoneNode):
    """MuJoCo behind the topics of a real arm, with a reset service and the truth beside them."""

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        super().__init__("sim_node", package="sim_bridge", **kwargs)
        self._arm = PANDA
        self._pace: Pace | None = None
        self._cell: Cell | None = None

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Refuse what contradicts itself.

        Raises:
            ParameterError: The set as a whole makes no sense.
        """
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
        """Build the cell and the topics."""
        with Progress(self) as progress:
            progress.begin("building the scene")
            self._cell = Cell(
                self.param("task"),
                self.param("seed"),
                image_size=self.param("image_size_px"),
                control_hz=self.param("control_hz"),
                with_expert=self.param("publish_expert"),
            )
        window = Window(wanted=self.param("viewer"))
        if self.param("viewer") and not window.is_open:
            self.get_logger().warning("viewer: there is no display, going on without a window")
        outlet = Outlet(self, self._arm, self.param("cameras"))
        kind = Lockstep if self.param("pace") == "lockstep" else Realtime
        self._pace = kind(self, self._cell, outlet, window)
        for msg_type, parameter, callback in (
            (JointTrajectory, "trajectory_topic", self._on_trajectory),
            (Float64MultiArray, "forward_topic", self._on_forward),
            (Float64MultiArray, "gripper_topic", self._on_gripper),
        ):
            self.create_subscription(msg_type, self.param(parameter), callback, qos.COMMAND)
        self.create_service(SimReset, "/sim/reset", self._on_reset)

    def on_start(self) -> None:
        """Let time pass."""
        if self._pace is None:
            raise RuntimeError("activated before it was configured")
        self._pace.start()
        self.set_state(State.READY)

    def on_stop(self) -> None:
        """Let it pass no more."""
        if self._pace is not None:
            self._pace.stop()

    def on_teardown(self) -> None:
        """Forget the cell."""
        self._pace = None
        self._cell = None

    def safe_action(self, reason: Reason) -> None:
        """Hold, as a controller does that is no longer commanded."""
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

    def _take(self, action: Callable[[Pace], None]) -> None:
        try:
            if self._pace is None or not self.active:
                raise CommandRefused(Refusal.INACTIVE, "the node is not active")
            action(self._pace)
        except CommandRefused as refused:
            counter = refused.refusal.value
            self.counters[counter] += 1
            if self.counters[counter] == 1:
                self.get_logger().warning(f"{counter}, counted from now on: {refused}")
        else:
            self.counters["commands"] += 1

    def _on_reset(self, request: SimReset.Request, response: SimReset.Response) -> SimReset.Response:
        if self._pace is None or self._cell is None or not self.active:
            response.message = "the node is not active"
            return response
        task = request.task or self._cell.world.task_name
        if task not in TASKS:
            response.message = f"no task {task!r}; there are {', '.join(TASKS)}"
            return response
        response.stamp = to_time(self._pace.reset(task, request.seed))
        response.success, response.reset_id = True, self._cell.reset_id
        response.instruction = self._cell.world.layout.instruction
        response.other_instruction = self._cell.world.layout.other_instruction
        self.counters["resets"] += 1
        return response


def main() -> None:
    """Run the node."""
    run(SimNode)
