# SPDX-License-Identifier: Apache-2.0
"""The observer: streams in, one synchronised observation out when it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_policy.core.freshness import FreezeDetector, StampError, StampGuard
from vla_policy.core.joints import JointReading
from vla_policy.core.synchroniser import StreamSample, SyncedInputs, Synchroniser, SyncLimits, SyncRefusal
from whetstone_common.core.epochs import NewestStamp
from whetstone_common.core.sources import Ownership, Source
from whetstone_common.core.stamp import Stamp

JOINTS = "joints"
_FRAMES_KEPT = 8
_JOINT_STATES_KEPT = 128
_CLOCK_KINDS = {"no_clock", "other_clock"}


@dataclass(frozen=True)
class ObserverSettings:
    """How strict the observer is.

    Attributes:
        limits: Age, silence and skew.
        future_tolerance_ns: How far ahead of our clock a stamp may be.
        frozen_frames: Identical frames in a row that make a camera frozen, 0 for never.
        frozen_min_motion_rad: Joint motion without which identical frames mean nothing.
        sim_time: Whether our clock follows /clock.
    """

    limits: SyncLimits
    future_tolerance_ns: int
    frozen_frames: int
    frozen_min_motion_rad: float
    sim_time: bool = False


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """An image that passed the check of its header.

    Attributes:
        data: Bytes as received, to compare.
        decode: Makes uint8 RGB [H, W, 3] of them; may raise ImageError.
    """

    data: Any
    decode: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class PendingRequest:
    """A request that waits for its observation.

    Attributes:
        stamp: Request cycle that it belongs to.
        not_before_ns: Oldest stamp allowed (ns).
        deadline_ns: When the answer becomes useless, steady clock (ns).
        content: Whatever travels with it.
        asked_ns: When it came, steady clock (ns).
    """

    stamp: Stamp
    not_before_ns: int
    deadline_ns: int
    content: Any = None
    asked_ns: int = 0


class Observer:
    """Judges what arrives, and answers the newest request as soon as a good set of parts exists."""

    def __init__(self, cameras: Sequence[str], settings: ObserverSettings, counters: Counter[str]) -> None:
        """Start with nothing seen and nothing asked.

        Args:
            cameras: Names of all cameras of the robot.
            settings: How strict.
            counters: Where refusals are counted, as `<stream>_<kind>`.
        """
        self.settings = settings
        self._counters = counters
        streams = dict.fromkeys(cameras, _FRAMES_KEPT) | {JOINTS: _JOINT_STATES_KEPT}
        self._synchroniser = Synchroniser(streams, {name: f"camera {name}" for name in cameras})
        self._stamps = {name: StampGuard(settings.future_tolerance_ns, sim_time=settings.sim_time) for name in streams}
        self._freeze = {
            name: FreezeDetector(frames=settings.frozen_frames, min_motion_rad=settings.frozen_min_motion_rad)
            for name in cameras
        }
        self._complaints: dict[str, tuple[int, str, str]] = {}
        self._owners = {name: Ownership(f"camera {name}") for name in cameras}
        self._newest_ask = NewestStamp()
        self.pending: PendingRequest | None = None

    def see_frame(self, camera: str, stamp_ns: int, frame: CameraFrame, *, now_ns: int, steady_ns: int) -> None:
        """Take a frame.

        Raises:
            StampError: Its stamp cannot be.
        """
        if not self._accept(camera, stamp_ns, now_ns):
            return
        joints = self._synchroniser.newest(JOINTS)
        self._freeze[camera].see(frame.data, None if joints is None else joints.payload)
        self._take(camera, StreamSample(stamp_ns, steady_ns, frame))

    def see_joints(self, reading: JointReading, *, now_ns: int) -> None:
        """Take all joints.

        Raises:
            StampError: Their stamp cannot be.
        """
        if self._accept(JOINTS, reading.stamp_ns, now_ns):
            self._take(JOINTS, StreamSample(reading.stamp_ns, reading.heard_ns, reading.positions, reading.laggards))

    def _accept(self, stream: str, stamp_ns: int, now_ns: int) -> bool:
        """Whether a stamp is news; what came before a clock that went back is forgotten."""
        guard = self._stamps[stream]
        is_news = guard.accept(stamp_ns, now_ns)
        if guard.went_back_ns:
            self._synchroniser.clear_stream(stream)
            self._counters[f"{stream}_clock_back"] += 1
        return is_news

    def check_source(self, camera: str, source: Source, steady_ns: int) -> None:
        """Refuse a second publisher of a camera.

        Raises:
            StampError: Another one speaks; kind `second_source`.
        """
        problem = self._owners[camera].problem(source, steady_ns)
        if problem:
            raise StampError("second_source", problem)

    def conflict(self, cameras: Sequence[str], steady_ns: int) -> tuple[str, str]:
        """One of these cameras that has two publishers, and both in words; empty while there is none."""
        found = ((name, self._owners[name].conflict(steady_ns)) for name in cameras)
        return next((each for each in found if each[1]), ("", ""))

    def complain(self, stream: str, kind: str, text: str, steady_ns: int) -> None:
        """Note that a message of a stream was refused; named as the cause when the stream is missed since."""
        self._counters[f"{stream}_{kind}"] += 1
        self._complaints[stream] = (steady_ns, kind, text)

    def discard(self, camera: str, part: StreamSample, text: str) -> None:
        """Take back a frame that could not be decoded."""
        self._synchroniser.drop(camera, part)
        self.complain(camera, "bad", text, part.arrival_ns)

    def ask(self, ask: PendingRequest, now_s: float = 0.0) -> bool:
        """Take a request; False when it is a repeat, or older than one that was taken before."""
        if not self._newest_ask.accept(ask.stamp, now_s):
            self._counters["request_old"] += 1
            return False
        if self.pending is not None:
            self._counters["request_superseded"] += 1
        self.pending = ask
        return True

    def answer(self, cameras: Sequence[str], *, now_ns: int, steady_ns: int) -> SyncedInputs | SyncRefusal | None:
        """Parts for the pending request, or why there are none yet; None when nothing is asked.

        Args:
            cameras: Those that the policy looks at.
            now_ns: ROS time (ns).
            steady_ns: Steady clock (ns).
        """
        if self.pending is None:
            return None
        frozen = self._frozen(cameras)
        if frozen is not None:
            return frozen
        found = self._synchroniser.snapshot(
            [*cameras, JOINTS],
            not_before_ns=self.pending.not_before_ns,
            now_ns=now_ns,
            steady_ns=steady_ns,
            limits=self.settings.limits,
        )
        return self._explained(found) if isinstance(found, SyncRefusal) else found

    def done(self) -> None:
        """The pending request is answered, or given up."""
        self.pending = None

    def is_overdue(self, steady_ns: int) -> bool:
        """Whether the pending request's deadline has passed."""
        return self.pending is not None and steady_ns > self.pending.deadline_ns

    def health(self, cameras: Sequence[str], *, now_ns: int, steady_ns: int) -> SyncRefusal | None:
        """What is wrong with the streams, whether or not something is asked."""
        for refusal in self._synchroniser.silent([*cameras, JOINTS], now_ns, steady_ns, self.settings.limits):
            return self._explained(refusal)
        return self._frozen(cameras)

    def reset(self) -> None:
        """Forget every stream, for instance after the clock has jumped; the pending request stays."""
        self._synchroniser.clear()
        self._complaints.clear()
        for guard in self._stamps.values():
            guard.reset()

    def _take(self, stream: str, part: StreamSample) -> None:
        self._synchroniser.add(stream, part)

    def _frozen(self, cameras: Sequence[str]) -> SyncRefusal | None:
        for name in cameras:
            if self._freeze[name].is_frozen:
                text = f"{name} has sent {self._freeze[name].repeats} identical frames with fresh stamps"
                return SyncRefusal("frozen", name, text)
        return None

    def _explained(self, refusal: SyncRefusal) -> SyncRefusal:
        newest = self._synchroniser.newest(refusal.stream)
        refused_ns, kind, cause = self._complaints.get(refusal.stream, (0, "", ""))
        if not cause or (newest is not None and refused_ns < newest.arrival_ns):
            return refusal
        if kind in _CLOCK_KINDS:
            return SyncRefusal(kind, refusal.stream, cause if kind == "no_clock" else f"{refusal.stream}: {cause}")
        told = f"{refusal.stream}:" if refusal.kind == "missing" else f"{refusal.text};"
        return SyncRefusal("bad", refusal.stream, f"{told} last message refused: {cause}")
