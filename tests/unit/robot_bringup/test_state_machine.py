# SPDX-License-Identifier: Apache-2.0
"""Modes of the arm: what leads where, and what never does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_bringup.core.state_machine import ArmState, Mode, Refused
from whetstone_common.core.reason import Reason, State

EVENTS = {
    "arm": lambda s: s.arm(),
    "disarm": lambda s: s.disarm(),
    "reset": lambda s: s.reset(),
    "resume": lambda s: s.resume(),
    "pause": lambda s: s.pause(),
    "hold": lambda s: s.hold(Reason.UNDERRUN, ""),
    "run": lambda s: s.run(),
    "stop": lambda s: s.stop(Reason.POLICY_LOST),
    "lost": lambda s: s.stop(Reason.TAKEOVER_LOST),
    "back": lambda s: s.continue_takeover(),
    "press": lambda s: s.press_estop(),
    "release": lambda s: s.release_estop(),
}


def after(*events: str, state: ArmState | None = None) -> ArmState:
    state = state or ArmState()
    for event in events:
        try:
            state = EVENTS[event](state)
        except Refused:
            continue
    return state


def test_when_new_expect_disarmed_and_no_motion():
    assert ArmState().status is State.READY and ArmState().reason is Reason.DISARMED
    assert not ArmState().moving


@pytest.mark.parametrize(
    ("events", "mode"),
    [
        (["resume"], Mode.DISARMED),
        (["arm"], Mode.READY),
        (["arm", "resume"], Mode.RUNNING),
        (["arm", "resume", "hold"], Mode.HOLDING),
        (["arm", "resume", "hold", "run"], Mode.RUNNING),
        (["arm", "resume", "pause"], Mode.READY),
        (["arm", "resume", "stop"], Mode.STOPPED),
        (["arm", "resume", "stop", "arm", "resume", "pause", "run", "hold"], Mode.STOPPED),
        (["arm", "resume", "stop", "reset"], Mode.READY),
        (["arm", "resume", "disarm"], Mode.DISARMED),
        (["stop", "reset"], Mode.DISARMED),
        (["arm", "reset"], Mode.READY),
        (["arm", "resume", "reset"], Mode.RUNNING),
        (["arm", "resume", "stop", "disarm", "reset"], Mode.DISARMED),
        (["arm", "resume", "lost", "back"], Mode.RUNNING),
        (["arm", "resume", "stop", "back"], Mode.STOPPED),
        (["arm", "resume", "lost", "press", "release", "back"], Mode.STOPPED),
        (["arm", "resume", "press", "reset"], Mode.STOPPED),
        (["arm", "resume", "press", "release", "reset"], Mode.READY),
        (["press", "arm"], Mode.STOPPED),
    ],
)
def test_when_events_follow_each_other_expect_the_mode(events, mode):
    assert after(*events).mode is mode


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=30))
def test_when_the_estop_is_pressed_expect_stopped_whatever_follows_until_release_and_reset(events):
    state = after("arm", "resume", "press")
    for event in events:
        if event == "release":
            continue
        state = after(event, state=state)
        assert state.mode is Mode.STOPPED and state.reason is Reason.ESTOP


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(set(EVENTS) - {"reset", "back"})), max_size=30))
def test_when_stopped_expect_no_motion_without_a_reset(events):
    state = after("arm", "resume", "stop")
    for event in events:
        state = after(event, state=state)
        assert not state.moving


def test_when_stopped_twice_expect_the_first_reason_but_the_estop_overrides():
    state = after("arm", "resume", "stop", "lost")
    assert state.reason is Reason.POLICY_LOST
    assert after("press", state=state).reason is Reason.ESTOP


def test_when_the_node_itself_failed_expect_error():
    assert after("arm").stop(Reason.CALLBACK_EXCEPTION).status is State.ERROR
