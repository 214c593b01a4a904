# SPDX-License-Identifier: Apache-2.0
"""Between messages and plain data, for the types that every package uses."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from vla_interfaces.msg import Stamp as StampMsg

from whetstone_common.core.stamp import Stamp

_NS_PER_S = 1_000_000_000


def to_ns(time: Time) -> int:
    """Nanoseconds of a time message."""
    return int(time.sec) * _NS_PER_S + int(time.nanosec)


def to_time(nanoseconds: int) -> Time:
    """Time message of nanoseconds."""
    return Time(sec=nanoseconds // _NS_PER_S, nanosec=nanoseconds % _NS_PER_S)


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


def floats(array: np.ndarray) -> list[float]:
    """Flat list for a float field; rclpy checks lists of floats far faster than numpy scalars."""
    flat: list[float] = np.asarray(array, dtype=np.float64).ravel().tolist()
    return flat


def shaped(values: object, *shape: int) -> np.ndarray:
    """Float32 array of a flat field.

    Raises:
        ValueError: The length does not fit the shape.
    """
    array = np.asarray(values, dtype=np.float32)
    if array.size != int(np.prod(shape)):
        raise ValueError(f"{array.size} values where {'x'.join(map(str, shape))} were announced")
    return array.reshape(shape)
