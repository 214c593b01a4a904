# SPDX-License-Identifier: Apache-2.0
"""Rows 13 and 14: stamps that cannot be, and sources that repeat themselves."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from vla_policy.core.freshness import FreezeDetector, StampError, StampGuard

S = 1_000_000_000
NOW = 1000 * S
STILL, MOVED = np.zeros(8), np.full(8, 0.2)


@pytest.mark.parametrize(
    ("stamp_ns", "kind"),
    [
        (0, "zero"),
        (-1, "zero"),
        (NOW + 3600 * S, "other_clock"),
        (NOW - 11 * S, "other_clock"),
        (NOW + 9 * S, "future"),
        (NOW + S // 5, "future"),
    ],
)
def test_when_a_stamp_cannot_be_expect_refusal_by_kind(stamp_ns: int, kind: str) -> None:
    with pytest.raises(StampError) as refused:
        StampGuard(future_tolerance_ns=S // 10).accept(stamp_ns, NOW)
    assert refused.value.kind == kind


def test_when_a_stamp_is_one_tick_ahead_of_the_clock_expect_it_taken() -> None:
    assert StampGuard(future_tolerance_ns=S // 10).accept(NOW + S // 20, NOW)


def test_when_this_node_has_no_time_expect_that_said_and_not_the_stamp() -> None:
    with pytest.raises(StampError, match="nobody publishes /clock") as refused:
        StampGuard(future_tolerance_ns=S // 10, sim_time=True).accept(NOW, 0)
    assert refused.value.kind == "no_clock"


def test_when_a_stamp_repeats_expect_no_news_and_no_fault() -> None:
    guard = StampGuard(future_tolerance_ns=0)
    assert guard.accept(NOW, NOW)
    assert not guard.accept(NOW, NOW)


def test_when_stamps_go_back_expect_refusal_until_reset() -> None:
    guard = StampGuard(future_tolerance_ns=0)
    guard.accept(NOW, NOW)
    with pytest.raises(StampError) as refused:
        guard.accept(NOW - 1, NOW)
    assert refused.value.kind == "order"
    guard.reset()
    assert guard.accept(NOW - 1, NOW)


def test_when_a_driver_starts_anew_with_its_clock_set_back_expect_it_followed_after_half_a_second() -> None:
    guard = StampGuard(future_tolerance_ns=0)
    guard.accept(NOW, NOW)
    for tick in range(1, 11):
        now_ns = NOW + tick * S // 20
        with pytest.raises(StampError, match="before the last one"):
            guard.accept(now_ns - 3 * S, now_ns)
    for tick in range(11, 21):
        now_ns = NOW + tick * S // 20
        assert guard.accept(now_ns - 3 * S, now_ns)
    assert guard.newest_ns == NOW - 2 * S


def test_when_messages_were_overtaken_expect_refusal_however_many_come_at_once_or_between_newer_ones() -> None:
    guard = StampGuard(future_tolerance_ns=0)
    for tick in range(40):
        now_ns = NOW + tick * S // 20
        assert guard.accept(now_ns, now_ns)
        for late_ns in (7, 6, 5):
            with pytest.raises(StampError, match="before the last one"):
                guard.accept(now_ns - late_ns, now_ns)


def test_when_it_lies_behind_in_no_order_expect_refusal_for_ever() -> None:
    guard = StampGuard(future_tolerance_ns=0)
    guard.accept(NOW, NOW)
    for tick in range(1, 60):
        with pytest.raises(StampError):
            guard.accept(NOW - (1 + tick % 2) * S, NOW + tick * S // 20)


def frozen_after(frames: list[bytes], joints: list[np.ndarray | None], *, motion: float = 0.05, count: int = 5) -> bool:
    detector = FreezeDetector(frames=count, min_motion_rad=motion)
    for frame, posture in zip(frames, joints, strict=True):
        detector.see(array("B", frame), posture)
    return detector.is_frozen


def test_when_five_frames_are_identical_while_the_arm_moves_expect_frozen() -> None:
    assert frozen_after([b"same"] * 5, [STILL] * 4 + [MOVED])
    assert not frozen_after([b"same"] * 4, [STILL] * 3 + [MOVED])


def test_when_the_arm_rests_expect_identical_frames_to_mean_nothing() -> None:
    assert not frozen_after([b"same"] * 50, [STILL] * 50)


def test_when_no_motion_is_asked_for_expect_identical_frames_to_be_enough() -> None:
    assert frozen_after([b"same"] * 5, [None] * 5, motion=0.0)


def test_when_a_new_frame_comes_expect_not_frozen_any_more() -> None:
    assert not frozen_after([b"same"] * 9 + [b"new"], [STILL] * 8 + [MOVED] * 2)


def test_when_the_arm_went_and_came_back_expect_frozen() -> None:
    assert frozen_after([b"same"] * 5, [STILL, MOVED, STILL, STILL, STILL])


def test_when_the_check_is_off_expect_never_frozen() -> None:
    assert not frozen_after([b"same"] * 50, [STILL] * 25 + [MOVED] * 25, count=0)
