# SPDX-License-Identifier: Apache-2.0
"""A frozen dataclass of numbers, words and arrays as bytes, and back. No code is ever loaded.

Layout: length of the header (u32, little-endian), header (JSON: scalars by name; tensors by name with dtype and shape),
then the tensors' raw bytes in the header's order.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from rl_learner.core.transition import Transition

TRANSITION_SCHEMA = 2
_LENGTH_BYTES = 4
_MAX_HEADER = 1 << 20
_MAX_DIMENSIONS = 8
_DTYPES = {"<f4", "|u1"}
_SCALARS = (bool, int, float, str)

T = TypeVar("T")


class CodecError(ValueError):
    """Bytes that are not what they should be."""


def encode(transition: Transition) -> bytes:
    """Bytes of a transition."""
    scalars: dict[str, Any] = {}
    tensors: dict[str, tuple[str, list[int]]] = {}
    parts: list[bytes] = []
    for field in fields(transition):
        value = getattr(transition, field.name)
        if isinstance(value, np.ndarray):
            array = np.ascontiguousarray(value)
            tensors[field.name] = (array.dtype.newbyteorder("<").str, list(array.shape))
            parts.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        else:
            scalars[field.name] = value
    header = json.dumps({"scalars": scalars, "tensors": tensors}, separators=(",", ":"), allow_nan=False).encode()
    return b"".join([len(header).to_bytes(_LENGTH_BYTES, "little"), header, *parts])


def decode(payload: bytes) -> Transition:
    """Transition of bytes; the arrays are read-only views.

    Raises:
        CodecError: They are not a transition.
    """
    try:
        scalars, tensors, body = _header(payload)
        values = {**_checked_scalars(scalars), **_tensors(tensors, body)}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CodecError(f"not a transition: {error}") from error
    wanted = {f.name for f in fields(Transition)}
    if set(values) != wanted:
        raise CodecError(f"not a transition: fields {sorted(set(values) ^ wanted)} differ")
    return Transition(**values)


def _header(payload: bytes) -> tuple[dict[str, Any], dict[str, Any], memoryview]:
    length = int.from_bytes(payload[:_LENGTH_BYTES], "little")
    if len(payload) < _LENGTH_BYTES or not 0 < length <= min(_MAX_HEADER, len(payload) - _LENGTH_BYTES):
        raise CodecError(f"a header of {length} bytes in {len(payload)}")
    header = json.loads(payload[_LENGTH_BYTES : _LENGTH_BYTES + length])
    return header["scalars"], header["tensors"], memoryview(payload)[_LENGTH_BYTES + length :]


def _checked_scalars(scalars: dict[str, Any]) -> dict[str, Any]:
    for name, value in scalars.items():
        if type(value) not in _SCALARS or (isinstance(value, float) and not math.isfinite(value)):
            raise CodecError(f"{name} is {value!r}")
    return scalars


def _tensors(tensors: dict[str, Any], body: memoryview) -> dict[str, Any]:
    arrays, offset = {}, 0
    for name, (dtype, shape) in tensors.items():
        if dtype not in _DTYPES or len(shape) > _MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
            raise CodecError(f"{name} has dtype {dtype!r} and shape {shape!r}")
        end = offset + math.prod(shape) * np.dtype(dtype).itemsize
        if end > len(body):
            raise CodecError(f"{name} has shape {shape!r}, and {len(body) - offset} bytes are left")
        arrays[name] = np.frombuffer(body[offset:end], dtype=dtype).reshape(shape)
        offset = end
    if offset != len(body):
        raise CodecError(f"{len(body) - offset} bytes too many")
    return arrays
