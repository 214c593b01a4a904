# SPDX-License-Identifier: Apache-2.0
"""Our encoding against openpi's own package: the same bytes, the same arrays, and no objects."""

import msgpack
import numpy as np
import pytest
from openpi_client import msgpack_numpy

from vla_policy.core.remote.codec import EncodingError, packed, unpacked

RNG = np.random.default_rng(0)
MESSAGE = {
    "observation/image": RNG.integers(0, 256, (96, 96, 3), dtype=np.uint8),
    "observation/state": RNG.standard_normal(8),
    "images": {"cam_high": np.moveaxis(RNG.integers(0, 256, (8, 6, 3), dtype=np.uint8), -1, 0)},
    "gripper": np.float32(0.25),
    "is_first": np.True_,
    "empty": np.zeros((0, 3), np.float32),
    "prompt": "put the red cube on the blue plate",
    "names": ["a", "b"],
    "count": 3,
}


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray | np.generic):
        return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    return type(one) is type(other) and one == other


def test_when_a_message_is_packed_expect_the_bytes_of_openpis_own_client():
    assert packed(MESSAGE) == msgpack_numpy.packb(MESSAGE) == msgpack_numpy.Packer().pack(MESSAGE)


def test_when_openpi_packs_expect_the_same_arrays_here_and_the_other_way_round():
    assert same(unpacked(msgpack_numpy.packb(MESSAGE)), MESSAGE)
    assert same(msgpack_numpy.unpackb(packed(MESSAGE)), MESSAGE)


@pytest.mark.parametrize(
    "value",
    [
        np.array([{}], dtype=object),
        np.zeros(2, np.complex64),
        np.zeros(2, dtype=[("a", "f4")]),
        object(),
        {1, 2},
        1 << 70,
    ],
)
def test_when_something_has_no_encoding_expect_it_not_to_be_sent(value):
    with pytest.raises(EncodingError, match="cannot be sent"):
        packed({"observation": value})


def array(data=b"\0" * 8, dtype="<f4", shape=(2,)):
    return msgpack.packb({"actions": {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}})


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (array(dtype="|O"), "only numbers and text"),
        (array(dtype="<c8"), "only numbers and text"),
        (array(dtype="f4,O"), "only numbers and text"),
        (array(dtype="<f4; import os"), "only numbers and text"),
        (array(dtype="<U0"), "only numbers and text"),
        (array(dtype=7), "only numbers and text"),
        (array(shape=(3,)), "8 bytes, expected 12 bytes"),
        (array(shape=(-2,)), r"shape \[-2\]"),
        (array(shape=(True, 2)), "shape"),
        (array(shape=(2**31, 2**31, 2**31)), "expected .* bytes"),
        (array(shape=[1] * 9), "at most 8 sizes"),
        (array(shape=None), "shape None"),
        (array(data="text"), "has str"),
        (msgpack.packb({b"__npgeneric__": True, b"data": [1], b"dtype": "|O"}), "only numbers and text"),
        (msgpack.packb({b"__npgeneric__": True, b"data": "x", b"dtype": "<f4"}), "no msgpack with arrays"),
        (packed(MESSAGE)[:-1], "no msgpack"),
        (packed(MESSAGE) + b"\0", "no msgpack"),
        (b"", "no msgpack"),
        (b"\xdd\xff\xff\xff\xff", "no msgpack"),
        (b"\x91" * 5000 + b"\0", "no msgpack"),
        (b"\x80\x04\x95", "no msgpack"),
    ],
)
def test_when_bytes_are_not_what_they_say_expect_them_refused_with_the_reason(data, text):
    with pytest.raises(EncodingError, match=text):
        unpacked(data)
