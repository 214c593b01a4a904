# SPDX-License-Identifier: Apache-2.0
"""Messages of openpi's protocol: msgpack, and arrays as maps of bytes, type and shape.

An array is `{b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [H, D]}`, a scalar of NumPy is
`{b"__npgeneric__": True, b"data": number, b"dtype": "<f4"}`. Objects are refused in both directions: reading one would
mean to run what the other side wrote.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

_KINDS = "biufSU"  # truth values, whole and real numbers, bytes and text
_MOST_AXES = 8


class EncodingError(ValueError):
    """A message that cannot be sent, or was not understood; the text says what of it."""


def packed(message: Mapping[str, Any]) -> bytes:
    """A message as bytes.

    Raises:
        EncodingError: It holds something that has no encoding, an array of objects for example.
    """
    try:
        data: bytes = msgpack.packb(message, default=_encoded)
    except (TypeError, ValueError, OverflowError) as error:
        raise EncodingError(f"cannot be sent: {error}") from error
    return data


def unpacked(data: bytes) -> Any:
    """The message that bytes hold; its arrays are read-only views of them.

    Raises:
        EncodingError: They are no msgpack, or an array does not fit its own description.
    """
    try:
        return msgpack.unpackb(data, object_hook=_decoded)
    except EncodingError:
        raise
    except (TypeError, ValueError, OverflowError, msgpack.UnpackException) as error:
        raise EncodingError(f"is no msgpack with arrays: {type(error).__name__}: {error}") from error


def _encoded(value: Any) -> dict[bytes, Any]:
    if not isinstance(value, np.ndarray | np.generic):
        raise EncodingError(f"cannot be sent: {type(value).__name__} has no encoding")
    if value.dtype.kind not in _KINDS:
        raise EncodingError(f"cannot be sent: an array of {value.dtype}, only numbers and text can be")
    kind = value.dtype.str
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": kind, b"shape": value.shape}
    return {b"__npgeneric__": True, b"data": value.item(), b"dtype": kind}


def _decoded(entry: dict[Any, Any]) -> Any:
    if b"__ndarray__" in entry:
        return _array(entry)
    if b"__npgeneric__" in entry:
        return _dtype(entry).type(entry.get(b"data"))
    return entry


def _array(entry: dict[Any, Any]) -> np.ndarray:
    dtype, data, shape = _dtype(entry), entry.get(b"data"), entry.get(b"shape")
    is_shape = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    if not isinstance(shape, list) or not is_shape or len(shape) > _MOST_AXES:
        raise EncodingError(f"an array has the shape {shape!r}, expected at most {_MOST_AXES} sizes")
    wanted = math.prod(shape) * dtype.itemsize
    if not isinstance(data, bytes) or len(data) != wanted:
        has = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise EncodingError(f"an array of {dtype}{shape} has {has}, expected {wanted} bytes")
    return np.frombuffer(data, dtype).reshape(shape)


def _dtype(entry: dict[Any, Any]) -> np.dtype:
    named = entry.get(b"dtype")
    try:
        dtype = np.dtype(named) if isinstance(named, str) else None
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None or dtype.kind not in _KINDS or not dtype.itemsize:
        raise EncodingError(f"an array of {named!r}, only numbers and text are taken")
    return dtype
