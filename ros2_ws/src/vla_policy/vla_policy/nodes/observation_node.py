# SPDX-License-Identifier: Apache-2.0
"""Answers each request with the freshest observation whose parts belong together."""

from __future__ import annotations

import functools
import time
from typing import Any

from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String
from vla_interfaces.msg import Observation, PolicyContract, Request, StageTimes

from vla_policy.core.freshness import StampError
from vla_policy.core.images import ImageRules, fit
from vla_policy.core.joints import JointStream, proprioception
from vla_policy.core.observing import JOINTS, Observer, ObserverSettings, PendingRequest
from vla_policy.core.synchroniser import SyncedInputs, SyncLimits, SyncRefusal
from vla_policy.nodes.convert import from_image, from_pose, to_frame, to_request_times
from whetstone_common.core.camera_topics import compressed
from whetstone_common.core.contract import Contract
from whetstone_common.core.instruction import InstructionError, check_instruction
from whetstone_common.core.joint_parts import JointStateError
from whetstone_common.core.pixels import ImageError
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.core.robot import Robot, RobotError
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import (
    float32_field,
    floats,
    from_stamp,
    image_type,
    to_contract,
    to_joint_message,
    to_ns,
    to_stamp,
)
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.robot_files import find_kinematics, robot_of_parameter
from whetstone_common.nodes.sources import Publishers, with_source

_NS_PER_S = 1_000_000_000
_CHECK_PERIOD_S = 0.05
_FIRST_OF_JUMP_NS = 1
_REASONS = {
    "missing": Reason.MISSING_STREAM,
    "stale": Reason.STALE_OBSERVATION,
    "early": Reason.STALE_OBSERVATION,
    "skew": Reason.STALE_OBSERVATION,
    "frozen": Reason.FROZEN_SOURCE,
    "bad": Reason.BAD_MESSAGE,
    "second": Reason.SECOND_SOURCE,
    "no_clock": Reason.NO_CLOCK,
    "other_clock": Reason.OTHER_CLOCK,
}


class ObservationNode(WhetstoneNode):
    """Cameras, joints and words in; one observation per request out."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare the parameters; everything else is made by the set-up hook."""
        super().__init__("observation_node", package="vla_policy", **kwargs)
        self._contract: Contract | None = None
        self._instruction = ""
        self._words_refused = ""

    # ---- hooks -----------------------------------------------------------------------------------------------------

    def on_setup(self) -> None:
        """Read the robot file and subscribe to what it names."""
        robot = robot_of_parameter(self.param("robot_file"))
        self._robot: Robot = robot.in_namespace(self.get_namespace())
        try:
            self._kinematics = find_kinematics(self._robot)
        except RobotError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"robot_file: {error}") from error
        self._rules = ImageRules(
            max_side_px=self.param("max_image_side_px"),
            max_bytes=4 * self.param("max_image_side_px") ** 2,
        )
        self._observer = Observer(tuple(self._robot.cameras), self._settings(), self.counters)
        self._joints = JointStream(
            self._robot.joint_layout,
            self._robot.joint_states_topic,
            self._observer.settings.future_tolerance_ns,
            sim_time=self.uses_sim_time,
        )
        self._observations = self.create_publisher(Observation, "observation", qos.RING)
        self._words_in_use = self.create_publisher(String, "instruction_in_use", qos.LATCHED)
        # Words before requests: a request that follows a new instruction must find it.
        self.create_subscription(String, "instruction", self.on_instruction, qos.LATCHED)
        self.watch_input("instruction", String, qos.LATCHED, sole=True)
        self.create_subscription(PolicyContract, "policy_contract", self.on_contract, qos.LATCHED)
        self._subscribe_sensors()
        self.create_subscription(Request, "request", self.on_request, qos.RING)
        self.create_steady_timer(_CHECK_PERIOD_S, self.check)
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-_FIRST_OF_JUMP_NS))
        self._jumps = self.get_clock().create_jump_callback(threshold, post_callback=self.guarded(self.on_clock_jump))

    def on_start(self) -> None:
        """Report what is there already."""
        self.check()

    def on_stop(self) -> None:
        """Give up the pending request."""
        if hasattr(self, "_observer"):
            self._observer.done()

    def on_teardown(self) -> None:
        """Let go of the clock; subscriptions are the base's."""
        if hasattr(self, "_jumps"):
            self._jumps.unregister()
            del self._jumps
        self._contract = None

    def safe_action(self, _reason: Reason) -> None:
        """Answer nothing: the arm holds for want of chunks."""
        if hasattr(self, "_observer"):
            self._observer.done()

    def parameters_changed(self, _names: set[str]) -> None:
        """Limits may be turned while running."""
        if hasattr(self, "_observer"):
            self._observer.settings = self._settings()

    def _settings(self) -> ObserverSettings:
        is_realtime = self.param("pace") == "realtime"
        max_age_ns = round(self.param("obs_max_age_s") * _NS_PER_S)
        limits = SyncLimits(
            max_age_ns=max_age_ns,
            # While the world waits for the arm nothing new is sent, and nothing is lost by it.
            max_silence_ns=max_age_ns if is_realtime else 0,
            max_skew_ns=round(self.param("obs_max_skew_s") * _NS_PER_S),
        )
        return ObserverSettings(
            limits=limits,
            future_tolerance_ns=round(self.param("future_tolerance_s") * _NS_PER_S),
            frozen_frames=self.param("frozen_frames"),
            frozen_min_motion_rad=self.param("frozen_min_motion_rad"),
            sim_time=self.uses_sim_time,
        )

    def _subscribe_sensors(self) -> None:
        is_reliable = self.param("pace") == "lockstep" or self.param("reliable_images")
        profile = qos.SENSOR_IN_RELIABLE if is_reliable else qos.SENSOR_IN
        for name, named in self._robot.cameras.items():
            topic = compressed(named) if self.param("compressed") else named
            callback: Any = functools.partial(self.on_image, name, Publishers(self, topic))
            callback.__name__ = self.on_image.__name__
            self.create_subscription(image_type(topic), topic, with_source(callback), profile)
        topic = self._robot.joint_states_topic
        self._joint_drivers = Publishers(self, topic)
        self.create_subscription(JointState, topic, with_source(self.on_joints), profile)

    # ---- callbacks -------------------------------------------------------------------------------------------------

    def on_instruction(self, msg: String) -> None:
        """Take the words of the task; what cannot be said leaves none, or the policy would follow old ones."""
        try:
            self._instruction, self._words_refused = check_instruction(msg.data), ""
        except InstructionError as error:
            self.counters["instruction_bad"] += 1
            self._instruction, self._words_refused = "", f"instruction refused: {error}"
            self._report(self._no_words())
        self._words_in_use.publish(String(data=self._instruction))

    def on_contract(self, msg: PolicyContract) -> None:
        """Take what the policy wants to see."""
        try:
            contract = to_contract(msg)
        except ValueError as error:
            self.counters["contract_bad"] += 1
            self.set_state(State.HOLDING, Reason.CONTRACT_MISMATCH, str(error))
            return
        problem = self._misfit(contract)
        self._contract = None if problem else contract
        if problem:
            self.set_state(State.HOLDING, Reason.CONTRACT_MISMATCH, problem)

    def _misfit(self, contract: Contract) -> str:
        unknown = [name for name in contract.cameras if name not in self._robot.cameras]
        if unknown:
            return f"cameras: the policy wants {unknown[0]!r}, the robot has {', '.join(self._robot.cameras)}"
        if contract.joint_names != self._robot.contract_joints:
            return f"joint_names: {self._robot.contract_joints} here, {contract.joint_names} there"
        return ""

    def on_image(self, camera: str, publishers: Publishers, msg: Image | CompressedImage, gid: bytes) -> None:
        """Take a frame of a camera."""
        times = self._times()
        try:
            self._observer.check_source(camera, publishers.source(gid), times["steady_ns"])
            frame = to_frame(msg, self._rules)
            self._observer.see_frame(camera, to_ns(msg.header.stamp), frame, **times)
        except ImageError as error:
            self._observer.complain(camera, "bad", str(error), times["steady_ns"])
        except StampError as error:
            self._observer.complain(camera, error.kind, str(error), times["steady_ns"])
        self._answer(times)

    def on_joints(self, msg: JointState, gid: bytes) -> None:
        """Take a joint state, or a part of one."""
        times = self._times()
        try:
            reading = self._joints.update(to_joint_message(msg, self._joint_drivers.source(gid)), **times)
            if reading is not None:
                self._observer.see_joints(reading, now_ns=times["now_ns"])
        except (JointStateError, StampError) as error:
            self._observer.complain(JOINTS, error.kind, str(error), times["steady_ns"])
        self._answer(times)

    def on_request(self, msg: Request) -> None:
        """Take a request; the answer may be possible at once."""
        if not self.active:
            return
        not_before_ns, deadline_s = to_request_times(msg)
        wait_ns = round((deadline_s or self.param("request_timeout_s")) * _NS_PER_S)
        times = self._times()
        asked_ns = times["steady_ns"]
        ask = PendingRequest(to_stamp(msg.stamp), not_before_ns, asked_ns + wait_ns, msg, asked_ns)
        if self._observer.ask(ask, times["steady_ns"] / _NS_PER_S):
            self._answer(times)

    def on_clock_jump(self, _jump: TimeJump) -> None:
        """The clock went back: nothing that was seen before can be compared with what comes."""
        self.counters["clock_jump"] += 1
        self._joints.clear()
        self._observer.reset()
        self._observer.done()
        self.set_state(State.HOLDING, Reason.CLOCK_JUMP, "the clock went back")

    def check(self) -> None:
        """Give up requests that are overdue, and say how the streams are."""
        if not self.active:
            return
        times = self._times()
        if self._observer.is_overdue(times["steady_ns"]):
            self._answer(times, is_last_try=True)
        elif self.status[0] != State.ERROR:
            self._report(self._health(times))

    # ---- answering -------------------------------------------------------------------------------------------------

    def _answer(self, times: dict[str, int], *, is_last_try: bool = False) -> None:
        if self._observer.pending is None:
            return
        found = self._ready() or self._conflict(times) or self._observer.answer(self._contract.cameras, **times)
        if isinstance(found, SyncedInputs):
            self._publish(found, times["now_ns"])
        elif is_last_try:
            self.counters["request_unanswered"] += 1
            self._observer.done()
            self._report(found)

    def _publish(self, found: SyncedInputs, now_ns: int) -> None:
        ask, began_ns = self._observer.pending, time.monotonic_ns()
        try:
            images = self._images(found)
        except ImageError:
            return
        self._observer.done()
        msg = self._message(ask, found, images, now_ns)
        msg.times.wait_s = (began_ns - ask.asked_ns) / _NS_PER_S
        msg.times.preprocess_s = (time.monotonic_ns() - began_ns) / _NS_PER_S
        self._observations.publish(msg)
        self.counters["observations"] += 1
        self._report(None)

    def _images(self, found: SyncedInputs) -> list[Image]:
        images = []
        for camera in self._contract.cameras:
            part = found.parts[camera]
            try:
                pixels = part.payload.decode()
            except ImageError as error:
                self._observer.discard(camera, part, str(error))
                raise
            fitted = fit(pixels, self._contract.image_height, self._contract.image_width, crop=self.param("crop"))
            images.append(from_image(fitted, part.stamp_ns, camera, part.payload.data))
        return images

    def _message(self, ask: PendingRequest, found: SyncedInputs, images: list[Image], now_ns: int) -> Observation:
        joints = found.parts[JOINTS].payload
        tcp = self._kinematics.fk(joints[:-1])
        msg = Observation(
            stamp=from_stamp(ask.stamp),
            kind=ask.content.kind,
            cameras=list(self._contract.cameras),
            images=images,
            joint_names=list(self._robot.contract_joints),
            joint_positions=floats(joints),
            tcp_pose=from_pose(tcp),
            proprio=float32_field(proprioception(self._contract.action_space, joints, tcp)),
            instruction=self._instruction,
            image_skew_s=found.skew_ns / _NS_PER_S,
            times=StageTimes(camera_s=max(0.0, (now_ns - found.oldest_ns) / _NS_PER_S)),
            request=ask.content,
        )
        # The arm aligns the chunk by the moment at which it was where the policy thinks it is.
        stamp_ns = found.parts[JOINTS].stamp_ns
        msg.stamp.observation.sec, msg.stamp.observation.nanosec = divmod(stamp_ns, _NS_PER_S)
        return msg

    # ---- status ----------------------------------------------------------------------------------------------------

    def _ready(self) -> SyncRefusal | None:
        if self._contract is None:
            return SyncRefusal("missing", "policy_contract", "waiting for policy_contract: none that fits yet")
        return self._no_words()

    def _no_words(self) -> SyncRefusal | None:
        if self._words_refused:
            return SyncRefusal("bad", "instruction", self._words_refused)
        return None if self._instruction else SyncRefusal("missing", "instruction", "waiting for instruction: none yet")

    def _health(self, times: dict[str, int]) -> SyncRefusal | None:
        if self._words_refused:
            return self._no_words()
        if self._contract is None:
            return self._ready()
        return self._conflict(times) or self._observer.health(self._contract.cameras, **times)

    def _conflict(self, times: dict[str, int]) -> SyncRefusal | None:
        """Two publishers of one stream: nobody knows which of them is right."""
        stream, text = self._observer.conflict(self._contract.cameras, times["steady_ns"])
        if not text:
            stream, text = JOINTS, self._joints.conflict(times["steady_ns"])
        return SyncRefusal("second", stream, text) if text else None

    def _report(self, refusal: SyncRefusal | None) -> None:
        if refusal is None:
            self.set_state(State.READY)
            return
        if self.status[1] == Reason.CONTRACT_MISMATCH and refusal.stream == "policy_contract":
            return
        has_begun = self.counters["observations"] > 0
        state = State.HOLDING if has_begun or refusal.kind != "missing" else State.STARTING
        self.set_state(state, _REASONS[refusal.kind], refusal.text)

    def _times(self) -> dict[str, int]:
        return {"now_ns": self.get_clock().now().nanoseconds, "steady_ns": time.monotonic_ns()}


def main() -> None:
    """Entry point."""
    run(ObservationNode)
