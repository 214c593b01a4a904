# SPDX-License-Identifier: Apache-2.0
"""Transitions to bytes and back; bytes of a stranger are refused."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from fakes.rl_episodes import plain_episode
from fakes.rl_episodes import transitions_of as transitions
from rl_learner.core.codec import CodecError, decode, encode
from rl_learner.core.transition import Transition


def test_when_a_transition_is_encoded_expect_the_same_back() -> None:
    for made in transitions(plain_episode(10)):
        back = decode(encode(made))
        for field in fields(Transition):
            a, b = getattr(made, field.name), getattr(back, field.name)
            assert np.array_equal(a, b) and (not isinstance(a, np.ndarray) or (a.dtype, a.shape) == (b.dtype, b.shape))


def test_when_bytes_are_cut_or_added_expect_refusal_at_every_length() -> None:
    payload = encode(transitions(plain_episode(2))[0])
    for length in range(len(payload)):
        with pytest.raises(CodecError):
            decode(payload[:length])
    with pytest.raises(CodecError, match="too many"):
        decode(payload + b"x")


def test_when_the_header_lies_expect_refusal() -> None:
    payload = encode(transitions(plain_episode(2))[0])
    for old, new in ((b'"<f4"', b'"|O8"'), (b'"epoch"', b'"epocx"'), (b'"gamma":0.9', b'"gamma":NaN')):
        assert old in payload
        harmed = payload.replace(old, new, 1)
        with pytest.raises(CodecError):
            decode(harmed)
