# SPDX-License-Identifier: Apache-2.0
"""The plan of the fault relay, and the harm it does to content."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.harm import NoSuchFieldError, apply, edited, restamped
from harness.schedule import Action, Fault, Schedule, dump_faults, parse_faults


@dataclass
class Time:
    """Like builtin_interfaces/Time."""

    sec: int = 10
    nanosec: int = 500_000_000


@dataclass
class Header:
    """Like std_msgs/Header."""

    stamp: Time = field(default_factory=Time)


@dataclass
class Message:
    """Like a chunk in a frame."""

    header: Header = field(default_factory=Header)
    actions: list[float] = field(default_factory=lambda: [1.0, 2.0, 3.0])
    data: bytes = b"\x00\x01"
    name: str = "front"
    count: int = 3


def test_when_seed_is_equal_expect_equal_harm_in_any_order() -> None:
    faults = (Fault("drop", probability=0.3), Fault("delay", probability=0.5, delay_s=0.1))
    forward = [Schedule(faults, 7).action(n) for n in range(200)]
    backward = [Schedule(faults, 7).action(n) for n in reversed(range(200))]
    assert forward == backward[::-1]
    assert forward != [Schedule(faults, 8).action(n) for n in range(200)]


@given(st.floats(0.05, 0.95), st.integers(0, 1000))
def test_when_drops_have_a_probability_expect_about_that_share(probability: float, seed: int) -> None:
    plan = Schedule((Fault("drop", probability=probability),), seed)
    share = sum(not plan.action(n).emit_after_s for n in range(400)) / 400
    assert abs(share - probability) < 0.15


def test_when_outside_the_window_expect_no_harm() -> None:
    plan = Schedule((Fault("drop", after=5, count=2),), 0)
    assert [n for n in range(20) if not plan.action(n).harmless] == [5, 6]


def test_when_duplicated_and_delayed_expect_all_copies() -> None:
    plan = Schedule((Fault("delay", delay_s=0.1), Fault("duplicate", copies=2, delay_s=0.2)), 0)
    assert plan.action(0).emit_after_s == (0.1, pytest.approx(0.3), pytest.approx(0.3))


def test_when_dropped_expect_no_reordering_of_nothing() -> None:
    assert Schedule((Fault("drop"), Fault("reorder")), 0).action(0) == Action(emit_after_s=())


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "eat"},
        {"kind": "drop", "probability": 0.0},
        {"kind": "drop", "probability": math.nan},
        {"kind": "delay", "delay_s": -1.0},
        {"kind": "nan"},
    ],
)
def test_when_a_plan_makes_no_sense_expect_refusal(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Fault(**arguments)


def test_when_written_and_read_expect_the_same_plan() -> None:
    faults = (Fault("set", field="actions", index=1, value="4.5"), Fault("restamp", shift_s=-1.0))
    assert parse_faults(dump_faults(faults)) == faults
    with pytest.raises(ValueError, match="unknown keys"):
        parse_faults('[{"kind": "drop", "speed": 1}]')


def test_when_restamped_expect_a_moved_copy() -> None:
    message = Message()
    assert restamped(message, -1.0).header.stamp == Time(9, 500_000_000)
    assert restamped(message, 3600.0).header.stamp == Time(3610, 500_000_000)
    assert restamped(message, math.nan).header.stamp == Time(0, 0)
    assert message.header.stamp == Time()


def test_when_frozen_expect_old_payload_under_new_stamp() -> None:
    old, new = Message(actions=[9.0]), Message(header=Header(Time(11, 0)))
    result = apply(Action(freeze=True), new, old)
    assert result.actions == [9.0]
    assert result.header.stamp == Time(11, 0)


def test_when_nan_or_inf_is_injected_expect_one_bad_element() -> None:
    assert math.isnan(edited(Message(), Fault("nan", field="actions", index=1), 0).actions[1])
    assert math.isinf(edited(Message(), Fault("inf", field="actions"), 4).actions[1])


def test_when_a_bit_is_flipped_expect_one_bit_of_difference() -> None:
    result = edited(Message(), Fault("bitflip", field="data", index=1), 3)
    assert bytes(result.data) == b"\x00\x09"
    assert edited(Message(), Fault("bitflip", field="actions"), 63 * 3).actions != [1.0, 2.0, 3.0]


def test_when_a_field_is_set_expect_its_type_to_be_kept() -> None:
    assert edited(Message(), Fault("set", field="name", value='"wrist"'), 0).name == "wrist"
    assert edited(Message(), Fault("set", field="header.stamp.sec", value="3"), 0).header.stamp.sec == 3
    assert edited(Message(), Fault("set", field="actions", value="[1.0]"), 0).actions == [1.0]


def test_when_the_field_does_not_exist_expect_a_clear_error() -> None:
    with pytest.raises(NoSuchFieldError, match="speed"):
        edited(Message(), Fault("nan", field="speed"), 0)
