# SPDX-License-Identifier: Apache-2.0
"""The newest decision for pages that look at it; while no page does, a decision costs a look at its scores."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from vla_interfaces.msg import Decision, PolicyContract, Request

from operator_console.core.decision_value import value_of_chosen
from operator_console.core.episode_values import EpisodeValues
from operator_console.nodes.camera_calibrations import CameraCalibrations
from operator_console.nodes.cameras import CameraStreams
from operator_console.nodes.decision_drawing import DecisionDrawing
from operator_console.web.interface import DecisionShot
from whetstone_common.core.contract import Contract
from whetstone_common.core.robot import Robot
from whetstone_common.nodes.convert import to_contract, to_ns
from whetstone_common.nodes.node import WhetstoneNode

# A page that shows decisions asks at least so often.
_UNWATCHED_S = 3.0


class DecisionWatch:
    """Keeps the newest decision together with what the cameras saw.

    Args:
        node: Subscribes.
        robot: Gives the cameras' topics, the tip and the kinematics.
        cameras: Gives the pictures.
    """

    def __init__(self, node: WhetstoneNode, robot: Robot, cameras: CameraStreams) -> None:
        self._node, self._cameras = node, cameras
        self._lock = threading.Lock()
        self._contract: Contract | None = None
        self._newest: tuple[int, Decision, Mapping[str, bytes]] | None = None
        self._values = EpisodeValues()
        self._asked_s = float("-inf")
        self._calibrations = CameraCalibrations(node, robot)
        self._drawing = DecisionDrawing(robot, cameras, self._calibrations)

    # ---- from the graph --------------------------------------------------------------------------------------------

    def on_contract(self, msg: PolicyContract) -> None:
        """The policy says what its numbers mean."""
        try:
            self._contract = to_contract(msg)
        except ValueError:
            self._node.counters["bad_message"] += 1

    def on_decision(self, msg: Decision) -> None:
        """A chunk was chosen, and goes to the arm."""
        now_ns = to_ns(msg.stamp.observation)
        value = value_of_chosen(msg.scores, msg.kind, msg.chosen)
        with self._lock:
            self._values.add((int(msg.stamp.epoch), int(msg.stamp.episode)), now_ns, value)
            self._keep(msg, now_ns)

    def on_trial(self, msg: Decision) -> None:
        """What the policy would do was asked while no episode runs; it is no part of any."""
        with self._lock:
            self._keep(msg, to_ns(msg.stamp.observation))

    def _keep(self, msg: Decision, now_ns: int) -> None:
        if self._is_watched():
            number = 1 if self._newest is None else self._newest[0] + 1
            self._newest = (number, msg, self._cameras.messages_at(now_ns))

    def update(self) -> None:
        """Subscribe to calibrations while somebody looks; called by the executor."""
        self._calibrations.listen(is_watched=self._is_watched())

    def _is_watched(self) -> bool:
        return time.monotonic() - self._asked_s < _UNWATCHED_S

    # ---- what pages ask; by the server's thread --------------------------------------------------------------------

    @property
    def is_prepared(self) -> bool:
        """Whether a decision that is made now will be shown with the pictures of all cameras."""
        return self._is_watched() and self._cameras.sees_all

    def look(self) -> DecisionShot | None:
        """The newest decision since somebody looks, None before there is one."""
        self._asked_s = time.monotonic()
        self._cameras.keep_all()
        with self._lock:
            newest, values = self._newest, self._values.points
        if newest is None or self._contract is None:
            return None
        is_trial = newest[1].request_kind == Request.TRIAL
        return replace(self._drawing.shot(*newest, self._contract), values=values, is_trial=is_trial)
