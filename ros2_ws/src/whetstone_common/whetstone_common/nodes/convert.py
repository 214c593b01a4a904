# SPDX-License-Identifier: Apache-2.0
"""Between messages and plain data, for the types that every package uses."""

from __future__ import annotations

import math
import struct
from array import array

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image, JointState
from vla_interfaces.msg import PolicyContract, StageTimes
from vla_interfaces.msg import Stamp as StampMsg

from whetstone_common.core.camera_topics import is_compressed
from whetstone_common.core.contract import Contract
from whetstone_common.core.joint_parts import JointMessage
from whetstone_common.core.sources import UNKNOWN, Source
from whetstone_common.core.stage_latency import STAGES
from whetstone_common.core.stamp import Stamp

_NS_PER_S = 1_000_000_000
# A serialised message with a header begins with four bytes of encapsulation, then the header's stamp.
_STAMP_LITTLE, _STAMP_BIG = struct.Struct("<4xiI"), struct.Struct(">4xiI")


def to_ns(time: Time) -> int:
    """Nanoseconds of a time message."""
    return int(time.sec) * _NS_PER_S + int(time.nanosec)


def to_time(nanoseconds: int) -> Time:
    """Time message of nanoseconds."""
    return Time(sec=nanoseconds // _NS_PER_S, nanosec=nanoseconds % _NS_PER_S)


def serialized_stamp_ns(data: bytes) -> int:
    """Stamp (ns) of a serialised message whose first field is a header, without reading the rest of it."""
    seconds, nanoseconds = (_STAMP_LITTLE if data[1] & 1 else _STAMP_BIG).unpack_from(data)
    return int(seconds) * _NS_PER_S + int(nanoseconds)


def image_type(topic: str) -> type[Image | CompressedImage]:
    """What a camera sends on a topic."""
    return CompressedImage if is_compressed(topic) else Image


def to_stamp(msg: StampMsg) -> Stamp:
    """Stamp of a message."""
    return Stamp(msg.epoch, msg.episode, msg.request_id, msg.sequence, to_ns(msg.observation))


def from_stamp(stamp: Stamp) -> StampMsg:
    """Message of a stamp."""
    return StampMsg(
        epoch=stamp.epoch,
        episode=stamp.episode,
        request_id=stamp.request_id,
        sequence=stamp.sequence,
        observation=to_time(stamp.observation_ns),
    )


def to_stages(msg: StageTimes) -> dict[str, float]:
    """Duration of each of `STAGES` [s]."""
    return {stage: float(getattr(msg, f"{stage}_s")) for stage in STAGES}


def floats(values: np.ndarray) -> list[float]:
    """Flat list for a short float field of any width."""
    flat: list[float] = np.asarray(values, dtype=np.float64).ravel().tolist()
    return flat


def float32_field(values: object) -> array[float]:
    """Flat content of a `float32[]` field; messages take an `array` as it is, and check a list element by element."""
    return array("f", np.ascontiguousarray(values, dtype=np.float32).tobytes())


def bytes_field(values: np.ndarray) -> array[int]:
    """Content of a `uint8[]` field, for instance an image [H, W, 3]."""
    return array("B", np.ascontiguousarray(values, dtype=np.uint8).tobytes())


def shaped(values: object, *shape: int) -> np.ndarray:
    """Float32 array of a flat field.

    Raises:
        ValueError: The length does not fit the shape.
    """
    given = np.asarray(values, dtype=np.float32)
    # Sizes first: the announced shape comes off the wire and its product may be anything.
    if given.size != math.prod(shape):
        raise ValueError(f"{given.size} values where {'x'.join(map(str, shape))} were announced")
    return given.reshape(shape)


def to_joint_message(msg: JointState, source: Source = UNKNOWN) -> JointMessage:
    """Joint state of a message and its publisher; nothing is checked yet."""
    return JointMessage(msg.name, msg.position, to_ns(msg.header.stamp), source)


def to_contract(msg: PolicyContract) -> Contract:
    """Contract of a message.

    Raises:
        ValueError: It contradicts itself, or its hash is not that of its fields.
    """
    contract = Contract(
        action_space=msg.action_space,
        action_names=tuple(msg.action_names),
        action_scale=tuple(map(float, msg.action_scale)),
        action_offset=tuple(map(float, msg.action_offset)),
        proprio_names=tuple(msg.proprio_names),
        cameras=tuple(msg.cameras),
        image_height=msg.image_height,
        image_width=msg.image_width,
        horizon=msg.horizon,
        feature_dim=msg.feature_dim,
        dt_s=msg.dt_s,
        joint_names=tuple(msg.joint_names),
        readout_names=tuple(msg.readout_names),
        feature_version=msg.feature_version,
        model_id=msg.model_id,
        weights_sha256=msg.weights_sha256,
    )
    if contract.hash() != msg.contract_hash:
        raise ValueError(f"contract_hash {msg.contract_hash[:12]!r} is not the hash of the fields")
    return contract


def from_contract(contract: Contract) -> PolicyContract:
    """Message of a contract."""
    return PolicyContract(
        contract_hash=contract.hash(),
        model_id=contract.model_id,
        weights_sha256=contract.weights_sha256,
        action_space=contract.action_space,
        action_names=list(contract.action_names),
        action_scale=float32_field(contract.action_scale),
        action_offset=float32_field(contract.action_offset),
        proprio_names=list(contract.proprio_names),
        cameras=list(contract.cameras),
        image_height=contract.image_height,
        image_width=contract.image_width,
        horizon=contract.horizon,
        feature_dim=contract.feature_dim,
        dt_s=contract.dt_s,
        joint_names=list(contract.joint_names),
        readout_names=list(contract.readout_names),
        feature_version=contract.feature_version,
    )
