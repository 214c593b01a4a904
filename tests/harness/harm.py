# SPDX-License-Identifier: Apache-2.0
"""Changes to the content of a message, by duck typing: any object with the fields of a ROS message."""

from __future__ import annotations

import copy
import json
import math
import struct
from typing import Any

from harness.schedule import Action, Fault

_NS = 1_000_000_000


class NoSuchFieldError(ValueError):
    """The plan names a field that the message does not have."""


def stamp_owner(message: Any) -> tuple[Any, str]:
    """Object and attribute that hold the time of a message: stamp.observation, header.stamp, stamp, time or clock."""
    if hasattr(message, "header"):
        return message.header, "stamp"
    if hasattr(message, "stamp") and hasattr(message.stamp, "observation"):
        return message.stamp, "observation"
    for name in ("stamp", "time", "clock"):
        if hasattr(message, name):
            return message, name
    raise NoSuchFieldError(f"{type(message).__name__} has no stamp")


def restamped(message: Any, shift_s: float) -> Any:
    """Copy with a moved stamp; NaN sets it to zero."""
    result = copy.deepcopy(message)
    owner, name = stamp_owner(result)
    time = getattr(owner, name)
    total = 0 if math.isnan(shift_s) else time.sec * _NS + time.nanosec + int(shift_s * _NS)
    time.sec, time.nanosec = max(total, 0) // _NS, max(total, 0) % _NS
    return result


def frozen(last: Any, message: Any) -> Any:
    """The payload of `last` under the stamp of `message`."""
    result = copy.deepcopy(last)
    owner, name = stamp_owner(result)
    source, source_name = stamp_owner(message)
    setattr(owner, name, copy.deepcopy(getattr(source, source_name)))
    return result


def edited(message: Any, fault: Fault, draw: int) -> Any:
    """Copy with one value harmed."""
    if fault.kind == "restamp":
        return restamped(message, fault.shift_s)
    result = copy.deepcopy(message)
    owner, name = _owner(result, fault.field)
    current = getattr(owner, name)
    if fault.kind == "set" and fault.index < 0:
        new = json.loads(fault.value)
        setattr(owner, name, type(current)(new) if isinstance(current, int | float | str) else new)
        return result
    if isinstance(current, int | float):
        setattr(owner, name, _harm(current, fault, draw))
        return result
    if len(current) == 0:
        return result
    index = fault.index if fault.index >= 0 else draw % len(current)
    if isinstance(current, bytes | bytearray):
        current = bytearray(current)
    current[index] = _harm(current[index], fault, draw)
    setattr(owner, name, current)
    return result


def apply(action: Action, message: Any, last: Any | None) -> Any:
    """The message as it is sent on."""
    result = frozen(last, message) if action.freeze and last is not None else message
    for fault, draw in action.edits:
        result = edited(result, fault, draw)
    return result


def _owner(message: Any, path: str) -> tuple[Any, str]:
    *parents, name = path.split(".")
    owner = message
    for parent in parents:
        owner = owner[int(parent)] if parent.isdigit() else getattr(owner, parent, None)
    if not hasattr(owner, name):
        raise NoSuchFieldError(f"{type(message).__name__} has no {path}")
    return owner, name


def _harm(value: Any, fault: Fault, draw: int) -> Any:
    if fault.kind == "nan":
        return math.nan
    if fault.kind == "inf":
        return math.inf if draw % 2 else -math.inf
    if fault.kind == "set":
        return type(value)(json.loads(fault.value))
    if isinstance(value, float):
        return _flip_double(value, draw)
    return int(value) ^ (1 << (draw % 8))


def _flip_double(value: float, draw: int) -> float:
    (bits,) = struct.unpack("<Q", struct.pack("<d", float(value)))
    (flipped,) = struct.unpack("<d", struct.pack("<Q", bits ^ (1 << (draw % 64))))
    return float(flipped)
