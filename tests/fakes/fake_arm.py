# SPDX-License-Identifier: Apache-2.0
"""Eight drives on a bus: follow commands, keep a log, hold when the commands cease, and fail when told."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass, field

from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from fakes.base import FakeNode, run
from whetstone_common.nodes import qos

JOINTS = [*(f"panda_joint{number}" for number in range(1, 8)), "panda_gripper"]
HOME = [0.0, -0.2608, 0.0, -2.4298, 0.0, 2.1690, 0.0008, 1.0]
DRIVE_TIMEOUT_S = 0.040
_RATE_HZ = 100.0


@dataclass
class Drives:
    """Velocity-limited integrator with a receive time-out.

    Attributes:
        positions: [rad], last one the gripper's opening.
        targets: Last obeyed command.
        max_speed: [1/s] of each value.
    """

    positions: list[float] = field(default_factory=lambda: list(HOME))
    targets: list[float] | None = None
    max_speed: float = 4.0
    last_command_s: float = -math.inf
    timed_out: bool = True

    def command(self, targets: list[float], now_s: float) -> None:
        """Obey new targets."""
        self.targets = list(targets)
        self.last_command_s = now_s
        self.timed_out = False

    def advance(self, dt_s: float, now_s: float) -> bool:
        """Move for one cycle.

        Returns:
            Whether the drives have just held because no command came for DRIVE_TIMEOUT_S.
        """
        tripped = not self.timed_out and now_s - self.last_command_s > DRIVE_TIMEOUT_S
        if tripped:
            self.timed_out = True
        if self.timed_out or self.targets is None:
            return tripped
        reach = self.max_speed * dt_s
        self.positions = [
            position + min(max(target - position, -reach), reach) if math.isfinite(target) else position
            for position, target in zip(self.positions, self.targets, strict=True)
        ]
        return tripped


class FakeArm(FakeNode):
    """Publishes /joint_states, obeys both command topics.

    Parameters: `log` path; `frozen` repeats the positions under fresh stamps; `silent` publishes nothing;
    `nan_joint` index that reads NaN; `missing_joint` index that is left out; `shuffle` order of names; `split` says
    the gripper in a message of its own, and `gripper_silent` not at all then; `reading_offset_rad` is added to what is
    read, as from another arm;
    `stamp_shift_s`; `push` eight offsets that are added once to the measured positions; `braked` commands are logged
    and not followed.
    """

    def __init__(self) -> None:
        """Start at HOME."""
        defaults = {
            "log": "",
            "frozen": False,
            "silent": False,
            "nan_joint": -1,
            "missing_joint": -1,
            "shuffle": False,
            "split": False,
            "gripper_silent": False,
            "reading_offset_rad": 0.0,
            "stamp_shift_s": 0.0,
            "push": [0.0] * 8,
            "braked": False,
            "rate_hz": _RATE_HZ,
            "max_speed": 4.0,
        }
        super().__init__("fake_arm", defaults)
        self.drives = Drives(max_speed=self.told["max_speed"])
        self._shown = list(self.drives.positions)
        self._last_s = time.monotonic()
        self._log = os.open(self.told["log"] or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._publisher = self.create_publisher(JointState, "joint_states", qos.SENSOR_OUT)
        self.create_subscription(JointTrajectory, "arm_controller/joint_trajectory", self._on_trajectory, qos.COMMAND)
        self.create_subscription(Float64MultiArray, "forward_controller/commands", self._on_forward, qos.COMMAND)
        self.every(1.0 / self.told["rate_hz"], self._cycle)

    def on_told(self, names: set[str]) -> None:
        """A push happens once, when it is told."""
        if "push" in names:
            pairs = zip(self.drives.positions, self.told["push"], strict=True)
            self.drives.positions = [position + offset for position, offset in pairs]

    def _write(self, **line: object) -> None:
        os.write(self._log, (json.dumps({"t_ns": time.monotonic_ns(), **line}) + "\n").encode())

    def _on_trajectory(self, msg: JointTrajectory) -> None:
        values = dict(zip(msg.joint_names, msg.points[-1].positions, strict=True))
        self._obey([values[name] for name in JOINTS])

    def _on_forward(self, msg: Float64MultiArray) -> None:
        self._obey(list(msg.data))

    def _obey(self, targets: list[float]) -> None:
        self.drives.command(targets, time.monotonic())
        self._write(event="command", values=targets)

    def _cycle(self) -> None:
        now_s = time.monotonic()
        if not self.told["braked"] and self.drives.advance(now_s - self._last_s, now_s):
            self._write(event="timeout")
        self._last_s = now_s
        if not self.told["silent"]:
            for part in self._parts():
                self._publisher.publish(self._state(part))

    def _parts(self) -> list[range]:
        """Indices of the joints of each message."""
        arm, gripper = range(len(JOINTS) - 1), range(len(JOINTS) - 1, len(JOINTS))
        if not self.told["split"]:
            return [range(len(JOINTS))]
        return [arm] if self.told["gripper_silent"] else [arm, gripper]

    def _state(self, part: range) -> JointState:
        if not self.told["frozen"]:
            self._shown = list(self.drives.positions)
        order = list(part)
        if self.told["shuffle"]:
            order.reverse()
        order = [index for index in order if index != self.told["missing_joint"]]
        msg = JointState(name=[JOINTS[index] for index in order])
        shown = [position + self.told["reading_offset_rad"] for position in self._shown]
        msg.position = [math.nan if index == self.told["nan_joint"] else shown[index] for index in order]
        now_ns = self.get_clock().now().nanoseconds + int(self.told["stamp_shift_s"] * 1e9)
        msg.header.stamp.sec, msg.header.stamp.nanosec = now_ns // 10**9, now_ns % 10**9
        return msg


if __name__ == "__main__":
    run(FakeArm)
