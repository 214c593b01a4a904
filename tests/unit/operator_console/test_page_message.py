# SPDX-License-Identifier: Apache-2.0
"""What a page sends is checked before anything acts on it."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operator_console.core.page_message import MAX_BYTES, PageMessageError, PageRequest, parse


def test_when_a_heartbeat_comes_expect_its_keys_in_lower_case() -> None:
    message = parse('{"request": "beat", "keys": ["W", "t"], "pad": null}')
    assert message.request is PageRequest.NONE and message.keys == {"w", "t"} and message.pad is None


def test_when_a_gamepad_is_reported_expect_missing_axes_and_buttons_at_rest() -> None:
    message = parse('{"pad": {"axes": [3.0], "buttons": [true]}}')
    assert message.pad is not None and message.pad.axes == (1.0, 0.0, 0.0, 0.0)
    assert message.pad.buttons[0] and len(message.pad.buttons) == 17


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no JSON"),
        ("[]", "no JSON object"),
        ('{"request": "fire"}', "not one of beat, estop, take, give"),
        ('{"request": []}', "not one of"),
        ('{"keys": "w"}', "keys"),
        ('{"keys": [1]}', "keys"),
        (json.dumps({"keys": ["a"] * 33}), "at most 32"),
        ('{"pad": 3}', "pad"),
        ('{"pad": {"axes": ["x"], "buttons": []}}', "pad"),
        ('{"pad": {"axes": [NaN], "buttons": []}}', "not finite"),
        ('{"pad": {"axes": {"a": 1}, "buttons": []}}', "pad"),
        (" " * (MAX_BYTES + 1), "at most"),
    ],
)
def test_when_a_message_is_none_of_ours_expect_a_sentence(text: str, what: str) -> None:
    with pytest.raises(PageMessageError, match=what):
        parse(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["axes", "buttons", "x"]), inner),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries({}, optional={"request": _JSON, "keys": _JSON, "pad": _JSON}))
def test_when_fields_hold_anything_expect_a_message_or_a_page_message_error(body: dict[str, object]) -> None:
    with contextlib.suppress(PageMessageError):
        parse(json.dumps(body))
