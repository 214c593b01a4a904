# SPDX-License-Identifier: Apache-2.0
"""Row 15: parts that are put together belong together, whatever is lost or late."""

from __future__ import annotations

import random

import pytest

from vla_policy.core.synchroniser import StreamSample, SyncedInputs, Synchroniser, SyncLimits, SyncRefusal

MS = 1_000_000
STREAMS = ("front", "wrist", "joints")
LIMITS = SyncLimits(max_age_ns=500 * MS, max_silence_ns=500 * MS, max_skew_ns=60 * MS)


def filled(**stamps_ms: list[int]) -> Synchroniser:
    made = Synchroniser(dict.fromkeys(STREAMS, 8))
    for name, stamps in stamps_ms.items():
        for stamp in stamps:
            made.add(name, StreamSample(stamp * MS, stamp * MS, f"{name}@{stamp}"))
    return made


def ask(
    made: Synchroniser, *, not_before_ms: int = 0, now_ms: int = 1000, limits: SyncLimits = LIMITS
) -> SyncedInputs | SyncRefusal:
    return made.snapshot(
        STREAMS, not_before_ns=not_before_ms * MS, now_ns=now_ms * MS, steady_ns=now_ms * MS, limits=limits
    )


def test_when_all_stamps_agree_expect_them_with_no_skew() -> None:
    found = ask(filled(front=[950, 1000], wrist=[950, 1000], joints=[950, 1000]))
    assert isinstance(found, SyncedInputs) and found.skew_ns == 0 and found.oldest_ns == 1000 * MS


def test_when_one_camera_lags_expect_the_others_to_go_back_to_it() -> None:
    found = ask(filled(front=[900, 933, 966, 1000], wrist=[900], joints=[890, 900, 910, 1000]))
    assert isinstance(found, SyncedInputs)
    assert {part.stamp_ns // MS for part in found.parts.values()} == {900}


def test_when_a_camera_is_200_ms_behind_and_nothing_near_it_is_kept_expect_refusal_for_skew() -> None:
    found = ask(filled(front=[980, 1000], wrist=[800], joints=[990, 1000]))
    assert isinstance(found, SyncRefusal) and (found.kind, found.stream) == ("skew", "wrist")


def test_when_a_stream_was_never_received_expect_its_name() -> None:
    found = ask(filled(front=[1000], joints=[1000]))
    assert isinstance(found, SyncRefusal) and (found.kind, found.stream) == ("missing", "wrist")


def test_when_a_stream_is_old_expect_its_name_and_age() -> None:
    found = ask(filled(front=[1000], wrist=[400], joints=[1000]))
    assert (
        isinstance(found, SyncRefusal) and (found.kind, found.stream) == ("stale", "wrist") and "0.600 s" in found.text
    )


def test_when_stamps_are_fresh_but_nothing_arrives_expect_refusal_on_the_steady_clock() -> None:
    made = filled(front=[1000], wrist=[1000], joints=[1000])
    found = made.snapshot(STREAMS, not_before_ns=0, now_ns=1000 * MS, steady_ns=1600 * MS, limits=LIMITS)
    assert isinstance(found, SyncRefusal) and found.kind == "stale" and "silent" in found.text


def test_when_the_world_waits_for_the_arm_expect_silence_to_be_no_fault() -> None:
    made = filled(front=[1000], wrist=[1000], joints=[1000])
    patient = SyncLimits(max_age_ns=500 * MS, max_silence_ns=0, max_skew_ns=0)
    found = made.snapshot(STREAMS, not_before_ns=0, now_ns=1000 * MS, steady_ns=99_000 * MS, limits=patient)
    assert isinstance(found, SyncedInputs)


@pytest.mark.parametrize(("not_before_ms", "kind"), [(1000, SyncedInputs), (1001, SyncRefusal)])
def test_when_older_parts_than_asked_for_are_all_there_is_expect_refusal(not_before_ms: int, kind: type) -> None:
    assert isinstance(ask(filled(front=[1000], wrist=[1000], joints=[1000]), not_before_ms=not_before_ms), kind)


def test_when_a_part_is_dropped_expect_the_one_before_it() -> None:
    made = filled(front=[950, 1000], wrist=[950, 1000], joints=[950, 1000])
    newest = made.newest("front")
    assert newest is not None
    made.drop("front", newest)
    made.drop("front", newest)
    found = ask(made)
    assert isinstance(found, SyncedInputs) and found.oldest_ns == 950 * MS


def test_when_cleared_expect_everything_missing() -> None:
    made = filled(front=[1000], wrist=[1000], joints=[1000])
    made.clear()
    assert len(made.silent(STREAMS, 0, 0, LIMITS)) == 3


@pytest.mark.parametrize("loss", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("seed", range(5))
def test_when_frames_are_lost_and_late_expect_no_snapshot_beyond_the_limits(seed: int, loss: float) -> None:
    chance = random.Random(seed)
    made, answers = Synchroniser(dict.fromkeys(STREAMS, 8)), 0
    arrivals = []
    for k in range(200):
        for name, period, delay in (("front", 33, 5), ("wrist", 33, 5 + 200 * (seed % 2)), ("joints", 10, 1)):
            if chance.random() >= loss:
                arrivals.append((k * period + delay + chance.randint(0, 10), name, k * period))
    for now_ms, name, stamp_ms in sorted(arrivals):
        newest = made.newest(name)
        if newest is None or stamp_ms * MS > newest.stamp_ns:
            made.add(name, StreamSample(stamp_ms * MS, now_ms * MS, None))
        found = ask(made, now_ms=now_ms)
        if isinstance(found, SyncedInputs):
            answers += 1
            stamps = [part.stamp_ns for part in found.parts.values()]
            assert max(stamps) - min(stamps) <= LIMITS.max_skew_ns
            assert now_ms * MS - min(stamps) <= LIMITS.max_age_ns
    assert answers > 0 or loss > 0.0
