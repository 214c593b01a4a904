# SPDX-License-Identifier: Apache-2.0
"""Transitions to bytes and back; bytes of a stranger are refused."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from experience.core.codec import CodecError, EarlierReleaseError, decode, encode
from experience.core.transition import Transition
from fakes.rl_episodes import plain_episode
from fakes.rl_episodes import transitions_of as transitions


def test_when_a_transition_is_encoded_expect_the_same_back() -> None:
    for made in transitions(plain_episode(10)):
        back = decode(encode(made))
        for field in fields(Transition):
            a, b = getattr(made, field.name), getattr(back, field.name)
            assert np.array_equal(a, b) and (not isinstance(a, np.ndarray) or (a.dtype, a.shape) == (b.dtype, b.shape))


def test_when_an_earlier_release_has_discounted_the_rewards_expect_refusal_that_says_what_to_do() -> None:
    payload = encode(transitions(plain_episode(2))[0])
    size = int.from_bytes(payload[:4], "little")
    header = payload[4 : 4 + size]
    assert b'"mask":0.0' in header
    earlier = header.replace(b'"mask":0.0', b'"mask":0.0,"gamma":0.98,"reward":0.98')
    with pytest.raises(EarlierReleaseError, match="begin another run, and make prior data again"):
        decode(len(earlier).to_bytes(4, "little") + earlier + payload[4 + size :])


def test_when_a_transition_has_images_expect_the_same_back() -> None:
    png = np.frombuffer(b"\x89PNG and so on", np.uint8)
    made = replace(transitions(plain_episode(2))[0], images=png, next_images=png[:3])
    back = decode(encode(made))
    assert back.images.tobytes() == png.tobytes() and back.next_images.tobytes() == png[:3].tobytes()


def test_when_a_record_was_made_without_images_expect_it_read_and_none_stored() -> None:
    made = transitions(plain_episode(2))[0]
    assert b"images" not in encode(made)  # exactly the bytes of a release that knew no images
    back = decode(encode(made))
    assert back.images.shape == back.next_images.shape == (0,) and back.images.dtype == np.uint8


def test_when_bytes_are_cut_or_added_expect_refusal_at_every_length() -> None:
    payload = encode(transitions(plain_episode(2))[0])
    for length in range(len(payload)):
        with pytest.raises(CodecError):
            decode(payload[:length])
    with pytest.raises(CodecError, match="too many"):
        decode(payload + b"x")


def test_when_the_header_lies_expect_refusal() -> None:
    payload = encode(transitions(plain_episode(2))[0])
    for old, new in ((b'"<f4"', b'"|O8"'), (b'"epoch"', b'"epocx"'), (b'"mask":0.0', b'"mask":NaN')):
        assert old in payload
        harmed = payload.replace(old, new, 1)
        with pytest.raises(CodecError):
            decode(harmed)


def test_when_a_record_is_older_than_a_field_expect_its_default_and_without_one_a_refusal() -> None:
    made = transitions(plain_episode(2))[0]
    payload = encode(replace(made, critical_phase=False, chosen=0))
    assert not decode(payload).critical_phase
    size = int.from_bytes(payload[:4], "little")
    header = payload[4 : 4 + size]
    for found, is_read in ((b',"critical_phase":false', True), (b',"chosen":0', False)):
        assert found in header
        older = header.replace(found, b"")
        record = len(older).to_bytes(4, "little") + older + payload[4 + size :]
        if is_read:
            assert decode(record).critical_phase
        else:
            with pytest.raises(CodecError, match="chosen"):
                decode(record)
