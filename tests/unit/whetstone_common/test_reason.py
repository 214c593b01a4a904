# SPDX-License-Identifier: Apache-2.0
"""State, reason and detail in words."""

from __future__ import annotations

import itertools

import pytest

from whetstone_common.core.reason import Reason, State, cause, sentence


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ((State.READY,), "ready"),
        ((State.STARTING,), "starting"),
        ((State.STARTING, Reason.NONE, "loading model (12 s)"), "starting: loading model (12 s)"),
        (
            (State.STARTING, Reason.MISSING_STREAM, "waiting for camera front: no message yet"),
            "starting: waiting for camera front: no message yet",
        ),
        ((State.STARTING, Reason.NO_CLOCK), "starting, no clock"),
        ((State.READY, Reason.DISARMED), "ready, disarmed"),
        ((State.STOPPED, Reason.ESTOP, "pressed by /panel"), "stopped, emergency stop: pressed by /panel"),
        ((State.ERROR, Reason.MODEL_FAILURE, "onnx: no file"), "in error, model failure: onnx: no file"),
        ((State.STARTING, Reason.SHUTDOWN), "deactivated"),
        ((State.FINALIZED, Reason.SHUTDOWN), "shut down"),
    ],
)
def test_when_a_status_is_put_into_words_expect_a_sentence(status: tuple[State, Reason, str], words: str) -> None:
    assert sentence(*status) == words


def test_when_any_state_has_any_reason_expect_words_without_machine_names_or_none() -> None:
    for state, reason in itertools.product(State, Reason):
        words = sentence(state, reason, "7 of 8")
        assert words == words.lower() and "_" not in words and "none" not in words
        assert words.endswith(": 7 of 8") and not words.startswith((",", ":"))


def test_when_reasons_differ_expect_their_words_to_differ() -> None:
    assert len({cause(reason) for reason in Reason}) == len(Reason) and cause(Reason.NONE) == ""
