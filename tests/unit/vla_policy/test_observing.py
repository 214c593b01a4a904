# SPDX-License-Identifier: Apache-2.0
"""The observer: one answer per request, from parts that belong together, or the stream that is to blame."""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np
import pytest

from vla_policy.core.freshness import StampError
from vla_policy.core.joints import JointReading
from vla_policy.core.observing import JOINTS, CameraFrame, Observer, ObserverSettings, PendingRequest
from vla_policy.core.synchroniser import SyncedInputs, SyncLimits, SyncRefusal
from whetstone_common.core.sources import Source
from whetstone_common.core.stamp import Stamp

MS = 1_000_000
NOW = 10_000 * MS
CAMERAS = ("front", "wrist")


class Scene:
    """An observer and a clock."""

    def __init__(self) -> None:
        limits = SyncLimits(max_age_ns=500 * MS, max_silence_ns=500 * MS, max_skew_ns=60 * MS)
        settings = ObserverSettings(limits, future_tolerance_ns=100 * MS, frozen_frames=5, frozen_min_motion_rad=0.05)
        self.counters: Counter[str] = Counter()
        self.observer = Observer(CAMERAS, settings, self.counters)
        self.now_ns = NOW

    @property
    def times(self) -> dict[str, int]:
        return {"now_ns": self.now_ns, "steady_ns": self.now_ns}

    def frame(self, camera: str, content: bytes | None = None, stamp_ns: int | None = None) -> None:
        data = array("B", content or str(self.now_ns).encode())
        frame = CameraFrame(data, lambda: np.zeros((1, 1, 3), np.uint8))
        self.observer.see_frame(camera, self.now_ns if stamp_ns is None else stamp_ns, frame, **self.times)

    def joints(self, value: float = 0.0) -> None:
        self.observer.see_joints(JointReading(np.full(8, value), self.now_ns, self.now_ns), now_ns=self.now_ns)

    def tick(self, joints: float = 0.0) -> None:
        self.now_ns += 33 * MS
        self.joints(joints)
        for camera in CAMERAS:
            self.frame(camera)

    def ask(self, number: int, **fields: int) -> bool:
        given = {"not_before_ns": 0, "deadline_ns": self.now_ns + 1000 * MS} | fields
        return self.observer.ask(PendingRequest(Stamp(1, 1, number), **given))

    def answer(self) -> SyncedInputs | SyncRefusal | None:
        return self.observer.answer(CAMERAS, **self.times)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_when_nothing_is_asked_expect_nothing(scene: Scene) -> None:
    scene.tick()
    assert scene.answer() is None


def test_when_everything_is_there_expect_a_snapshot_and_one_only(scene: Scene) -> None:
    scene.tick()
    assert scene.ask(1)
    found = scene.answer()
    assert isinstance(found, SyncedInputs) and set(found.parts) == {*CAMERAS, JOINTS}
    scene.observer.done()
    assert scene.answer() is None


@pytest.mark.row(22)
@pytest.mark.parametrize("number", [4, 5])
def test_when_a_request_is_repeated_or_older_expect_it_refused(scene: Scene, number: int) -> None:
    scene.ask(5)
    assert not scene.ask(number)
    assert scene.counters["request_old"] == 1


def test_when_the_arm_restarts_expect_its_first_request_taken(scene: Scene) -> None:
    scene.ask(5)
    assert scene.observer.ask(PendingRequest(Stamp(2, 0, 1), 0, NOW))


def test_when_a_deadline_passes_expect_overdue_until_done(scene: Scene) -> None:
    scene.ask(1, deadline_ns=NOW + 10)
    assert not scene.observer.is_overdue(NOW + 10)
    assert scene.observer.is_overdue(NOW + 11)
    scene.observer.done()
    assert not scene.observer.is_overdue(NOW + 11)


@pytest.mark.row(14)
def test_when_a_camera_freezes_while_the_arm_moves_expect_it_named_and_forgiven_when_it_changes(scene: Scene) -> None:
    for k in range(6):
        scene.now_ns += 33 * MS
        scene.joints(0.02 * k)
        scene.frame("front", b"same")
        scene.frame("wrist")
    scene.ask(1)
    found = scene.answer()
    assert isinstance(found, SyncRefusal) and (found.kind, found.stream) == ("frozen", "front")
    assert scene.observer.health(CAMERAS, **scene.times) == found
    scene.tick()
    assert isinstance(scene.answer(), SyncedInputs) and scene.observer.health(CAMERAS, **scene.times) is None


@pytest.mark.row(14)
def test_when_the_same_frame_is_sent_again_with_the_same_stamp_expect_no_fault(scene: Scene) -> None:
    scene.tick()
    for k in range(20):
        scene.frame("front", b"same", stamp_ns=scene.now_ns)
        scene.joints(0.1 * k)
    assert scene.observer.health(CAMERAS, **scene.times) is None


def test_when_messages_of_a_stream_were_refused_expect_the_cause_with_its_name(scene: Scene) -> None:
    scene.joints()
    scene.frame("wrist")
    scene.observer.complain("front", "bad", "encoding 'mono8' is not accepted", scene.now_ns)
    scene.ask(1)
    found = scene.answer()
    assert isinstance(found, SyncRefusal) and found.kind == "bad" and "mono8" in found.text
    assert scene.counters["front_bad"] == 1
    scene.frame("front")
    assert isinstance(scene.answer(), SyncedInputs)


def test_when_a_good_message_came_after_the_refused_one_expect_silence_not_blamed_on_it(scene: Scene) -> None:
    scene.tick()
    scene.observer.complain("front", "bad", "encoding 'mono8' is not accepted", scene.now_ns)
    scene.tick()
    scene.now_ns += 600 * MS
    found = scene.observer.health(CAMERAS, **scene.times)
    assert found is not None and found.kind == "stale" and "mono8" not in found.text


def test_when_the_gripper_falls_silent_expect_it_named(scene: Scene) -> None:
    scene.tick()
    heard_ns = scene.now_ns
    scene.now_ns += 510 * MS
    scene.frame("front")
    scene.frame("wrist")
    reading = JointReading(np.zeros(8), scene.now_ns, heard_ns, "panda_gripper")
    scene.observer.see_joints(reading, now_ns=scene.now_ns)
    found = scene.observer.health(CAMERAS, **scene.times)
    assert found is not None and found.text == "joints (panda_gripper) has been silent for 0.510 s"


def test_when_two_nodes_publish_a_camera_expect_the_second_refused_and_both_named(scene: Scene) -> None:
    one, two = Source("a", "/one"), Source("b", "/two")
    scene.observer.check_source("front", one, NOW)
    with pytest.raises(StampError, match="camera front is published by /one and /two") as refused:
        scene.observer.check_source("front", two, NOW + MS)
    assert refused.value.kind == "second_source" and scene.observer.conflict(CAMERAS, NOW + MS) == ("", "")
    scene.observer.check_source("front", one, NOW + 2 * MS)
    assert scene.observer.conflict(CAMERAS, NOW + 3 * MS)[0] == "front"
    assert scene.observer.conflict(["wrist"], NOW + 3 * MS) == ("", "")


def test_when_a_frame_cannot_be_decoded_expect_it_taken_back(scene: Scene) -> None:
    scene.tick()
    scene.ask(1)
    found = scene.answer()
    assert isinstance(found, SyncedInputs)
    scene.observer.discard("front", found.parts["front"], "cannot be decoded")
    again = scene.answer()
    assert isinstance(again, SyncRefusal) and again.stream == "front" and "decoded" in again.text


def test_when_another_camera_is_not_wanted_expect_its_silence_to_be_no_fault(scene: Scene) -> None:
    scene.joints()
    scene.frame("front")
    scene.ask(1)
    assert isinstance(scene.observer.answer(["front"], **scene.times), SyncedInputs)


@pytest.mark.row(18)
def test_when_a_camera_s_driver_starts_anew_with_its_clock_set_back_expect_its_frames_judged_by_their_age(
    scene: Scene,
) -> None:
    def tick(back_ns: int) -> None:
        scene.now_ns += 33 * MS
        scene.joints()
        scene.frame("wrist")
        scene.frame("front", stamp_ns=scene.now_ns - back_ns)

    scene.tick()
    for _ in range(16):
        with pytest.raises(StampError, match="before the last one"):
            tick(3000 * MS)
    for _ in range(10):
        tick(3000 * MS)
    assert scene.counters["front_clock_back"] == 1
    scene.ask(1)
    assert "front is 3.000 s old" in scene.answer().text
    tick(0)
    assert isinstance(scene.answer(), SyncedInputs)


def test_when_the_clock_goes_back_expect_new_stamps_taken_after_a_reset(scene: Scene) -> None:
    scene.tick()
    scene.now_ns -= 5000 * MS
    with pytest.raises(StampError):
        scene.frame("front")
    scene.observer.reset()
    scene.tick()
    scene.ask(1)
    assert isinstance(scene.answer(), SyncedInputs)
