# SPDX-License-Identifier: Apache-2.0
"""From a decision and the images of its moment to what pages draw."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from vla_interfaces.msg import Decision

from operator_console.core.candidates import CandidatesError, DecisionArrays, Forward, view_of
from operator_console.nodes.camera_calibrations import CameraCalibrations
from operator_console.nodes.cameras import CameraStreams
from operator_console.web.interface import CameraShot, DecisionShot
from whetstone_common.core.contract import Contract
from whetstone_common.core.kinematics import Kinematics, Pose
from whetstone_common.core.pixels import ImageError
from whetstone_common.core.robot import Robot, RobotError
from whetstone_common.nodes.robot_files import find_kinematics


class DecisionDrawing:
    """Draws each decision once, however many pages look at it.

    Args:
        robot: Gives the kinematics.
        cameras: Turns the pictures into JPEG.
        calibrations: Of those cameras.
    """

    def __init__(self, robot: Robot, cameras: CameraStreams, calibrations: CameraCalibrations) -> None:
        self._robot, self._cameras, self._calibrations = robot, cameras, calibrations
        # A lock of its own: the node's callbacks do not wait for pictures, and kinematics is of one thread at a time.
        self._drawing = threading.Lock()
        self._shown: DecisionShot | None = None
        self._kinematics: Kinematics | None = None

    def shot(self, number: int, msg: Decision, pictures: Mapping[str, bytes], contract: Contract) -> DecisionShot:
        """What pages see of a decision.

        Args:
            number: Of the decision; the same number is the same decision.
            msg: The decision.
            pictures: Message of each camera at its moment.
            contract: Says what its numbers mean.
        """
        with self._drawing:
            if self._shown is None or self._shown.number != number:
                self._shown = self._draw(number, msg, pictures, contract)
            return self._shown

    def _draw(self, number: int, msg: Decision, pictures: Mapping[str, bytes], contract: Contract) -> DecisionShot:
        try:
            view = view_of(_arrays(msg), contract, self._forward(contract))
        except (CandidatesError, ValueError) as error:
            return DecisionShot(number, problem=str(error))
        view = replace(view, method=msg.method, instruction=msg.instruction, policy_version=int(msg.policy_version))
        shots = tuple(self._camera_shot(name, data, view.tcp) for name, data in pictures.items())
        return DecisionShot(number, view, shots)

    def _camera_shot(self, name: str, data: bytes, tcp: Pose) -> CameraShot:
        try:
            jpeg = self._cameras.encode(name, data)
        except ImageError as error:
            return CameraShot(name, problem=str(error))
        try:
            return CameraShot(name, jpeg, *self._calibrations.view(name, tcp))
        except ValueError as error:
            return CameraShot(name, jpeg, problem=str(error))

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
