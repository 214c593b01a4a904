# SPDX-License-Identifier: Apache-2.0
"""A frozen dataclass of numbers, words and arrays as bytes, and back. No code is ever loaded.

Layout: length of the header (u32, little-endian), header (JSON: scalars by name; tensors by name with dtype and shape),
then the tensors' raw bytes in the header's order.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, fields
from typing import Any, TypeVar

import numpy as np

from experience.core.transition import Transition

TRANSITION_SCHEMA = 3
_LENGTH_BYTES = 4
_MAX_HEADER = 1 << 20
_MAX_DIMENSIONS = 8
_DTYPES = {"<f4", "|u1"}
_SCALARS = (bool, int, float, str)
# Fields that records lack which were made without an image encoder, or before there was one.
_OPTIONAL = {"images", "next_images"}
# A field of records of schemas 1 and 2. They hold sums of rewards that were discounted when they were stored.
_DISCOUNTED = "gamma"

T = TypeVar("T")


class CodecError(ValueError):
    """Bytes that are not what they should be."""


class EarlierReleaseError(CodecError):
    """A transition that an earlier release has stored, and that this one cannot learn from."""

    def __init__(self) -> None:
        """Say what to do."""
        super().__init__(
            "the transitions were stored by an earlier release, which discounted their rewards: "
            "begin another run, and make prior data again"
        )


def encode(transition: Transition) -> bytes:
    """Bytes of a transition."""
    scalars: dict[str, Any] = {}
    tensors: dict[str, tuple[str, list[int]]] = {}
    parts: list[bytes] = []
    for field in fields(transition):
        value = getattr(transition, field.name)
        if field.name in _OPTIONAL and not value.size:
            continue
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
        EarlierReleaseError: An earlier release has stored them.
        CodecError: They are not a transition.
    """
    try:
        scalars, tensors, body = _header(payload)
        values = {**_checked_scalars(scalars), **_tensors(tensors, body)}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CodecError(f"not a transition: {error}") from error
    if _DISCOUNTED in values:
        raise EarlierReleaseError
    known = {f.name for f in fields(Transition)}
    # some came later than stored records, or are there only with an image encoder
    optional = {f.name for f in fields(Transition) if f.default is not MISSING or f.default_factory is not MISSING}
    if odd := sorted((set(values) - known) | (known - optional - set(values))):
        raise CodecError(f"not a transition: fields {odd} differ")
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
