# SPDX-License-Identifier: Apache-2.0
"""The newest decision for pages that look at it; while no page does, a decision costs a look at its scores."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CameraInfo
from vla_interfaces.msg import Decision, PolicyContract

from operator_console.core.camera_model import CalibrationError, CameraModel, mounted_at
from operator_console.core.candidates import CandidatesError, DecisionArrays, Forward, view_of
from operator_console.core.decision_value import value_of_chosen
from operator_console.nodes.cameras import CameraStreams
from operator_console.web.interface import CameraShot, DecisionShot
from whetstone_common.core.contract import Contract
from whetstone_common.core.kinematics import Kinematics, Pose
from whetstone_common.core.pixels import ImageError
from whetstone_common.core.robot import Robot, RobotError
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_contract, to_ns
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.robot_files import find_kinematics

# A page that shows decisions asks at least so often.
_UNWATCHED_S = 3.0
_REMEMBERED = 2000
_NS_PER_S = 1e9


@dataclass
class _Calibration:
    """What a camera and its neighbours have said of it."""

    info: CameraInfo | None = None
    pose: PoseStamped | None = None


class DecisionWatch:
    """Keeps the newest decision together with what the cameras saw.

    Args:
        node: Subscribes.
        robot: Gives the cameras' topics, the tip and the kinematics.
        cameras: Gives the pictures.
    """

    def __init__(self, node: WhetstoneNode, robot: Robot, cameras: CameraStreams) -> None:
        self._node, self._robot, self._cameras = node, robot, cameras
        self._lock, self._drawing = threading.Lock(), threading.Lock()
        self._contract: Contract | None = None
        self._newest: tuple[int, Decision, Mapping[str, bytes]] | None = None
        self._values: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._episode: tuple[int, int, int] = (0, 0, 0)  # epoch, episode, time of its first decision (ns)
        self._asked_s, self._count = float("-inf"), 0
        self._calibrations = {name: _Calibration() for name in robot.cameras}
        self._infos: dict[str, Any] = {}
        self._shown: DecisionShot | None = None
        self._kinematics: Kinematics | None = None
        for name, topic in robot.cameras.items():
            node.create_subscription(PoseStamped, f"{_beside(topic)}/pose", self._pose_of(name), qos.LATCHED)

    # ---- from the graph --------------------------------------------------------------------------------------------

    def on_contract(self, msg: PolicyContract) -> None:
        """The policy says what its numbers mean."""
        try:
            self._contract = to_contract(msg)
        except ValueError:
            self._node.counters["bad_message"] += 1

    def on_decision(self, msg: Decision) -> None:
        """A chunk was chosen, and goes to the arm."""
        begin = (int(msg.stamp.epoch), int(msg.stamp.episode))
        now_ns = to_ns(msg.stamp.observation)
        value = value_of_chosen(msg.scores, msg.kind, msg.chosen)
        with self._lock:
            if begin != self._episode[:2]:
                self._episode = (*begin, now_ns)
                self._values.clear()
            if value is not None:
                self._values.append(((now_ns - self._episode[2]) / _NS_PER_S, value))
            if self._is_watched():
                self._count += 1
                self._newest = (self._count, msg, self._cameras.messages_at(now_ns))

    def update(self) -> None:
        """Subscribe to calibrations while somebody looks; called by the executor."""
        is_watched = self._is_watched()
        if is_watched and not self._infos:
            for name, topic in self._robot.cameras.items():
                info = f"{_beside(topic)}/camera_info"
                self._infos[name] = self._node.create_subscription(CameraInfo, info, self._info_of(name), qos.SENSOR_IN)
        elif not is_watched:
            for subscription in self._infos.values():
                self._node.destroy_subscription(subscription)
            self._infos.clear()

    def _pose_of(self, name: str) -> Any:
        def keep(msg: PoseStamped) -> None:
            self._calibrations[name].pose = msg

        return keep

    def _info_of(self, name: str) -> Any:
        def keep(msg: CameraInfo) -> None:
            self._calibrations[name].info = msg

        return keep

    def _is_watched(self) -> bool:
        return time.monotonic() - self._asked_s < _UNWATCHED_S

    # ---- what pages ask; by the server's thread --------------------------------------------------------------------

    def look(self) -> DecisionShot | None:
        """The newest decision since somebody looks, None before there is one."""
        self._asked_s = time.monotonic()
        self._cameras.keep_all()
        with self._lock:
            newest, values = self._newest, tuple(self._values)
        if newest is None or self._contract is None:
            return None
        # Another lock: the node's callbacks do not wait for pictures, and kinematics is of one thread at a time.
        with self._drawing:
            if self._shown is None or self._shown.number != newest[0]:
                self._shown = self._shot(*newest)
            return replace(self._shown, values=values)

    def _shot(self, number: int, msg: Decision, pictures: Mapping[str, bytes]) -> DecisionShot:
        assert self._contract is not None  # noqa: S101 - the caller has checked
        try:
            view = view_of(_arrays(msg), self._contract, self._forward(self._contract))
        except (CandidatesError, ValueError) as error:
            return DecisionShot(number, problem=str(error))
        view = replace(view, method=msg.method, instruction=msg.instruction, policy_version=int(msg.policy_version))
        shots = tuple(self._camera_shot(name, data, view.tcp) for name, data in pictures.items())
        return DecisionShot(number, view, shots)

    def _camera_shot(self, name: str, data: bytes, tcp: Pose) -> CameraShot:
        try:
            jpeg = self._cameras.encode(data)
        except ImageError as error:
            return CameraShot(name, problem=str(error))
        calibration, beside = self._calibrations[name], _beside(self._robot.cameras[name])
        missing = [] if calibration.info is not None else [f"sensor_msgs/CameraInfo on {beside}/camera_info"]
        missing += [] if calibration.pose is not None else [f"geometry_msgs/PoseStamped (latched) on {beside}/pose"]
        if calibration.info is None or calibration.pose is None:
            return CameraShot(name, jpeg, problem=f"nothing is drawn into it without {' and '.join(missing)}")
        info, pose = calibration.info, calibration.pose
        try:
            model = CameraModel.of_calibration(info.width, info.height, info.k, info.d, info.distortion_model)
            where, turn = pose.pose.position, pose.pose.orientation
            mount = Pose.from_quaternion_xyzw([where.x, where.y, where.z], [turn.x, turn.y, turn.z, turn.w])
        except (CalibrationError, ValueError) as error:
            return CameraShot(name, jpeg, problem=str(error))
        is_at_hand = pose.header.frame_id == self._robot.tip
        return CameraShot(name, jpeg, model, mounted_at(tcp, mount) if is_at_hand else mount)

    def _forward(self, contract: Contract) -> Forward | None:
        if contract.action_space != "joint":
            return None
        try:
            if self._kinematics is None:
                self._kinematics = find_kinematics(self._robot)
        except RobotError as error:
            raise CandidatesError(str(error)) from error
        return self._kinematics.fk


def _arrays(msg: Decision) -> DecisionArrays:
    shape = (int(msg.n), int(msg.horizon), int(msg.action_dim))
    return DecisionArrays(
        contract_hash=msg.contract_hash,
        candidates=np.array(msg.candidates, dtype=np.float64).reshape(shape),
        sent=np.array(msg.chosen_chunk, dtype=np.float64).reshape(shape[1:]),
        reference=np.array(msg.reference, dtype=np.float64),
        scores=list(msg.scores),
        chosen=int(msg.chosen),
        kind=int(msg.kind),
    )


def _beside(topic: str) -> str:
    """Namespace of a camera: calibration and pose lie beside its images."""
    return topic.rsplit("/", 1)[0]
