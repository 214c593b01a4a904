# SPDX-License-Identifier: Apache-2.0
"""A world for the arm's core without ROS: a clock that is turned by hand, joints that follow commands, a policy.

Legend: n arm joints, H horizon, A action dims.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from robot_bringup.core.arm import Arm
from robot_bringup.core.cartesian import seven_from_pose
from robot_bringup.core.chunk import Chunk
from robot_bringup.core.outputs import ArmCommand, ArmOutputs, ExecutedOut, Now, RequestOut
from robot_bringup.core.settings import ArmSettings
from robot_bringup.core.takeover import TakeoverMode, TakeoverSample
from whetstone_common.core.contract import CARTESIAN_ACTIONS, CARTESIAN_PROPRIO, Contract
from whetstone_common.core.enums import RequestKind
from whetstone_common.core.joint_parts import JointMessage
from whetstone_common.core.kinematics import Kinematics
from whetstone_common.core.robot import Robot, load_robot

PACKAGE = Path(__file__).resolve().parents[2] / "ros2_ws" / "src" / "robot_bringup"
HORIZON, DT_S = 16, 0.05
_NS = 1_000_000_000
_START_NS = 1_000 * _NS


def panda() -> Robot:
    """The simulated Panda as shipped."""
    return load_robot(PACKAGE / "config" / "robots" / "sim_panda.yaml").in_namespace("")


def kinematics_of(robot: Robot) -> Kinematics:
    """Kinematics of a shipped robot."""
    xml = (PACKAGE / "description" / robot.urdf).read_text(encoding="utf-8")
    return Kinematics.from_urdf(xml, robot.tip, robot.joints)


def contract_for(robot: Robot, space: str = "cartesian", horizon: int = HORIZON) -> Contract:
    """A contract that fits a robot."""
    names = CARTESIAN_ACTIONS if space == "cartesian" else (*robot.joints, "gripper")
    return Contract(
        action_space=space,
        action_names=names,
        action_scale=(1.0,) * len(names),
        action_offset=(0.0,) * len(names),
        proprio_names=CARTESIAN_PROPRIO,
        cameras=("front",),
        image_height=96,
        image_width=96,
        horizon=horizon,
        feature_dim=8,
        dt_s=DT_S,
        joint_names=robot.contract_joints,
    )


class ArmWorld:
    """The arm's core, its joints and a policy that answers on demand.

    Args:
        robot: The robot.
        space: Action space of the policy.
        settings: Changes to the default settings.
    """

    def __init__(self, robot: Robot | None = None, *, space: str = "cartesian", **settings: Any) -> None:
        self.robot = robot or panda()
        self.kinematics = kinematics_of(self.robot)
        self.contract = contract_for(self.robot, space)
        self.settings = replace(ArmSettings(), **settings)
        self.counters: Counter[str] = Counter()
        self.arm = Arm(self.robot, self.kinematics, self.settings, 77, self.counters)
        self.joints = self.robot.home.copy()
        self.opening = 1.0
        self.steady_s = 50.0
        self.ros_ns = _START_NS
        self.commands: list[tuple[float, ArmCommand]] = []
        self.executed: list[ExecutedOut] = []
        self.requests: list[RequestOut] = []
        self.follow = True
        self.joints_alive = True
        self.human_sequence = 0

    # ---- time ------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> Now:
        """The present moment."""
        return Now(self.steady_s, self.ros_ns)

    @property
    def status(self) -> tuple[str, str]:
        """State and reason by name."""
        state, reason, _ = self.arm.status
        return state.name, reason.name

    def keep(self, out: ArmOutputs) -> ArmOutputs:
        """Note what came out, and let the joints follow."""
        self.requests += out.requests
        self.executed += out.executed
        if out.command is not None:
            self.commands.append((self.steady_s, out.command))
            if self.follow:
                self.joints, self.opening = out.command.motion.position, out.command.motion.opening
        return out

    def show_joints(self) -> ArmOutputs:
        """A joint state arrives."""
        gripper = self.robot.gripper.to_position(self.opening)
        return self.say_joints(self.robot.contract_joints, [*self.joints.tolist(), gripper])

    def say_joints(self, names: Sequence[str], positions: Sequence[float], **fields: Any) -> ArmOutputs:
        """A joint state of some joints arrives."""
        message = JointMessage(names, positions, self.ros_ns)
        return self.keep(self.arm.on_joint_state(replace(message, **fields), self.now))

    def step(self, ticks: int = 1) -> None:
        """Real time: some control periods with a joint state in each."""
        for _ in range(ticks):
            self.steady_s += self.settings.control_dt_s
            self.ros_ns += round(self.settings.control_dt_s * _NS)
            if self.joints_alive:
                self.show_joints()
            self.keep(self.arm.tick(self.now))

    def world_tick(self) -> None:
        """Lockstep: the world has advanced one tick."""
        self.steady_s += 0.02
        self.ros_ns += round(DT_S * _NS)
        self.show_joints()

    # ---- what others do --------------------------------------------------------------------------------------------

    def running(self, **resume: Any) -> ArmWorld:
        """Arm and resume."""
        self.arm.on_contract(self.contract)
        self.show_joints()
        self.arm.arm("", self.now)
        given = {"episode": 0, "seed": 3, "max_steps": 0, "not_before_ns": 0} | resume
        self.keep(self.arm.resume(self.now, **given))
        return self

    def asked(self) -> RequestOut:
        """The newest request that will be executed."""
        return [request for request in self.requests if request.kind is RequestKind.ACT][-1]

    def chunk(self, request: RequestOut | None = None, *, velocity_m_s: float = 0.1, **changes: Any) -> Chunk:
        """A chunk that answers a request: a straight way along y from here."""
        request = request or self.asked()
        along = np.arange(1, HORIZON + 1) * velocity_m_s * DT_S
        actions = np.zeros((HORIZON, self.contract.action_dim))
        actions[:, 1 if self.contract.action_space == "cartesian" else 0] = along
        actions[:, -1] = 1.0
        reference = self.joints.copy()
        if self.contract.action_space == "cartesian":
            reference = seven_from_pose(self.kinematics.fk(self.joints))
        base = Chunk(
            stamp=replace(request.stamp, observation_ns=self.ros_ns),
            source="/steering_node",
            source_epoch=5,
            contract_hash=self.contract.hash(),
            space=self.contract.action_space,
            action_names=self.contract.action_names,
            reference=reference,
            dt_s=DT_S,
            actions=actions,
            execute_steps=8,
            valid_for_s=1.0,
        )
        return replace(base, **changes)

    def answer(self, **changes: Any) -> Chunk:
        """The policy answers the newest request."""
        chunk = self.chunk(**changes)
        self.keep(self.arm.on_chunk(chunk, self.now))
        return chunk

    def play(self, chunks: int = 1, **changes: Any) -> None:
        """Answer each request at once and play the executed part."""
        for _ in range(chunks):
            self.step()
            self.answer(**changes)
            self.step(47)

    def person(self, *, engaged: bool = True, **changes: Any) -> TakeoverSample:
        """A person's device speaks: 5 cm/s along x."""
        self.human_sequence += 1
        sample = TakeoverSample(
            source="/operator_node",
            source_epoch=9,
            sequence=self.human_sequence,
            engaged=engaged,
            drive=TakeoverMode.VELOCITY,
            twist=np.array([0.05, 0, 0, 0, 0, 1e-9 * self.human_sequence]),
            tcp_target=np.zeros(7),
            opening=float("nan"),
            time_ns=self.ros_ns,
        )
        sample = replace(sample, **changes)
        self.keep(self.arm.on_takeover(sample, self.now))
        return sample

    # ---- judging ---------------------------------------------------------------------------------------------------

    def positions(self) -> np.ndarray:
        """(T, n) all commanded joints."""
        return np.array([command.motion.position for _, command in self.commands])

    def assert_within_limits(self) -> None:
        """Every command is finite and within step, velocity and acceleration of the one before."""
        limits = self.robot.limits
        dt_s = DT_S if self.settings.lockstep else self.settings.control_dt_s
        q = self.positions()
        assert np.isfinite(q).all()
        assert (q >= limits.lower - 1e-9).all() and (q <= limits.upper + 1e-9).all()
        velocity = np.diff(q, axis=0) / dt_s
        assert (np.abs(velocity) <= limits.velocity + 1e-6).all()
        assert (np.abs(np.diff(q, axis=0)) <= limits.step + 1e-9).all()
        assert (np.abs(np.diff(velocity, axis=0)) / dt_s <= limits.acceleration + 1e-4).all()
