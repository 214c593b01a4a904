# SPDX-License-Identifier: Apache-2.0
"""Recordings of the simulated Panda, written with the product's own writer from messages of the product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ament_index_python.packages import get_package_share_directory
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from vla_interfaces.msg import Decision, Executed, PolicyContract, Stamp

from experience.core.recording.definitions import complete
from experience.core.recording.episode_file import Channel, EpisodeFile, Message
from fakes.lerobot_files import FPS, HOME, JOINTS, level_of

FRONT, WRIST = "/camera/front/image_raw", "/camera/wrist/image_raw"
_TYPES = {
    FRONT: "sensor_msgs/msg/Image", WRIST: "sensor_msgs/msg/Image", "/executed": "vla_interfaces/msg/Executed",
    "/policy_contract": "vla_interfaces/msg/PolicyContract", "/decision": "vla_interfaces/msg/Decision",
}  # fmt: skip
_STEP_NS, _START_NS, _EPISODE = 1_000_000_000 // FPS, 1_000_000_000, 3
_CHUNK = 3  # steps of a chunk that are executed
METADATA = {
    "episode": str(_EPISODE), "start_ns": str(_START_NS), "instruction": "put the red cube on the blue plate",
    "outcome": "succeeded",
}  # fmt: skip


def _stamped(stamp: Any, time_ns: int) -> None:
    stamp.sec, stamp.nanosec = divmod(time_ns, 1_000_000_000)


def contract(joints: Sequence[str] = JOINTS, dt_s: float = 1.0 / FPS) -> PolicyContract:
    """What the policy expects."""
    return PolicyContract(joint_names=list(joints), dt_s=dt_s)


def image(number: int, time_ns: int, size_px: tuple[int, int] = (32, 32)) -> Image:
    """The picture of a frame, which its grey level tells."""
    height, width = size_px
    data = bytes([level_of(number) % 256]) * (height * width * 3)
    msg = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=data)
    _stamped(msg.header.stamp, time_ns)
    return msg


def executed(number: int, time_ns: int, joints: np.ndarray, actor: int = Executed.HUMAN) -> Executed:
    """A step that a person drove, or somebody else."""
    msg = Executed(episode_step=number, actor=actor)
    msg.joint_command, msg.joint_positions = joints.tolist(), joints.tolist()
    msg.tcp_target = [0.5, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0]
    msg.stamp.episode, msg.stamp.request_id = _EPISODE, request_of(number)
    _stamped(msg.time, time_ns)
    return msg


def request_of(step: int) -> int:
    """Number of the request whose chunk a step belongs to."""
    return 1 + step // _CHUNK


def scored(request: int, scores: Sequence[float], chosen: int, kind: int = Decision.BASE) -> Decision:
    """A decision for which a critic has scored the candidates."""
    stamp = Stamp(episode=_EPISODE, request_id=request)
    return Decision(stamp=stamp, instruction=METADATA["instruction"], scores=list(scores), chosen=chosen, kind=kind)


def recording(
    path: Path,
    steps: Sequence[int] = range(6),
    *,
    pictures: Mapping[str, Sequence[int]] | None = None,
    joints: np.ndarray = HOME,
    metadata: Mapping[str, str] | None = None,
    policy: PolicyContract | None = None,
    size_px: tuple[int, int] = (32, 32),
    decided: Sequence[tuple[int, str]] = (),
    decisions: Sequence[Decision] = (),
    actors: Mapping[int, int] | None = None,
) -> Path:
    """One episode in an MCAP file.

    Args:
        path: To make.
        steps: Numbers of the steps that were recorded.
        pictures: By topic, the steps that have one; all by default.
        joints: [8] arm (rad) and opening.
        metadata: Of the episode, in place of a success; `steps` is added.
        policy: The contract, in place of a good one.
        size_px: Height and width of the pictures.
        decided: Episode and words of decisions.
        decisions: Further decisions.
        actors: Who drove a step, where it was not a human.
    """
    shown = {FRONT: steps, WRIST: steps} | dict(pictures or {})
    definitions = {
        kind: complete(kind, lambda package: Path(get_package_share_directory(package))) for kind in _TYPES.values()
    }
    file = EpisodeFile(path, [Channel(topic, kind, definitions[kind]) for topic, kind in _TYPES.items()])
    file.write(Message("/policy_contract", serialize_message(policy or contract()), _START_NS))
    for episode, words in decided:
        decision = Decision(stamp=Stamp(episode=episode), instruction=words)
        file.write(Message("/decision", serialize_message(decision), _START_NS))
    for decision in decisions:
        file.write(Message("/decision", serialize_message(decision), _START_NS))
    for number in range(max(steps) + 1):
        time_ns = _START_NS + number * _STEP_NS
        for topic in (FRONT, WRIST):
            if number in shown[topic]:
                file.write(Message(topic, serialize_message(image(number, time_ns, size_px)), time_ns))
        if number in steps:
            step = executed(number, time_ns, joints, (actors or {}).get(number, Executed.HUMAN))
            file.write(Message("/executed", serialize_message(step), time_ns))
    return file.finish({**METADATA, "steps": str(max(steps) + 1)} if metadata is None else metadata)
