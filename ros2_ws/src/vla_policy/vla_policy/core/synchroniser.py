# SPDX-License-Identifier: Apache-2.0
"""Puts the parts of an observation together by their stamps, never by their order of arrival."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StreamSample:
    """One message of one stream.

    Attributes:
        stamp_ns: Its stamp, ROS time (ns).
        arrival_ns: When it arrived, steady clock (ns).
        payload: Whatever the stream carries.
        laggards: What of it is older than the rest, in words; empty for nothing.
    """

    stamp_ns: int
    arrival_ns: int
    payload: Any
    laggards: str = ""


@dataclass(frozen=True)
class SyncLimits:
    """What may be put together.

    Attributes:
        max_age_ns: Oldest part allowed, by stamp; 0 for no limit.
        max_silence_ns: Longest time since a part arrived, on the steady clock; 0 for no limit.
        max_skew_ns: Largest distance between the stamps of two parts.
    """

    max_age_ns: int
    max_silence_ns: int
    max_skew_ns: int


@dataclass(frozen=True)
class SyncedInputs:
    """Parts that belong together.

    Attributes:
        parts: Stream name to part.
        oldest_ns: Oldest stamp among them (ns).
        newest_ns: Newest stamp among them (ns).
    """

    parts: Mapping[str, StreamSample]
    oldest_ns: int
    newest_ns: int

    @property
    def skew_ns(self) -> int:
        """Distance between the oldest and the newest stamp."""
        return self.newest_ns - self.oldest_ns


@dataclass(frozen=True)
class SyncRefusal:
    """Why there is no snapshot now.

    Attributes:
        kind: `missing`, `stale`, `early` (older than asked for) or `skew`.
        stream: The stream to blame.
        text: In words.
    """

    kind: str
    stream: str
    text: str


class Synchroniser:
    """A short history per stream, and the freshest set of parts whose stamps agree."""

    def __init__(self, streams: Mapping[str, int], labels: Mapping[str, str] | None = None) -> None:
        """Start empty.

        Args:
            streams: Name to the number of parts kept.
            labels: Name to what a reader calls the stream; its name by default.
        """
        self._labels = labels or {}
        self._history: dict[str, deque[StreamSample]] = {name: deque(maxlen=depth) for name, depth in streams.items()}

    def add(self, stream: str, part: StreamSample) -> None:
        """Take a part whose stamp is newer than the stream's last one."""
        self._history[stream].append(part)

    def drop(self, stream: str, part: StreamSample) -> None:
        """Take back a part that turned out to be of no use."""
        if part in self._history[stream]:
            self._history[stream].remove(part)

    def newest(self, stream: str) -> StreamSample | None:
        """Newest part of a stream."""
        history = self._history[stream]
        return history[-1] if history else None

    def clear_stream(self, stream: str) -> None:
        """Forget a stream whose stamps begin anew."""
        self._history[stream].clear()

    def clear(self) -> None:
        """Forget everything."""
        for history in self._history.values():
            history.clear()

    def silent(self, streams: Sequence[str], now_ns: int, steady_ns: int, limits: SyncLimits) -> list[SyncRefusal]:
        """Which of the streams are missing or too old, whatever was asked for."""
        refusals = (self._judge(name, self.newest(name), now_ns, steady_ns, limits) for name in streams)
        return [refusal for refusal in refusals if refusal is not None]

    def snapshot(
        self, streams: Sequence[str], *, not_before_ns: int, now_ns: int, steady_ns: int, limits: SyncLimits
    ) -> SyncedInputs | SyncRefusal:
        """The freshest parts that agree, or why there are none.

        Args:
            streams: What to put together.
            not_before_ns: No part may be older than this stamp (ns).
            now_ns: ROS time (ns).
            steady_ns: Steady clock (ns).
            limits: What may be put together.
        """
        for refusal in self.silent(streams, now_ns, steady_ns, limits):
            return refusal
        # The stream that is furthest behind sets the moment; the others have history to go back to it.
        moment_ns = min(self._history[name][-1].stamp_ns for name in streams)
        parts = {name: _nearest(self._history[name], moment_ns) for name in streams}
        laggard = min(parts, key=lambda name: parts[name].stamp_ns)
        found = SyncedInputs(parts, parts[laggard].stamp_ns, max(part.stamp_ns for part in parts.values()))
        if found.oldest_ns < not_before_ns:
            return SyncRefusal("early", laggard, f"{laggard} has nothing after the moment that was asked for")
        if found.skew_ns > limits.max_skew_ns:
            text = f"{laggard} is {found.skew_ns * 1e-9:.3f} s behind, limit {limits.max_skew_ns * 1e-9:.3f} s"
            return SyncRefusal("skew", laggard, text)
        return self._aged(found, laggard, now_ns, limits) or found

    def _judge(
        self, name: str, part: StreamSample | None, now_ns: int, steady_ns: int, limits: SyncLimits
    ) -> SyncRefusal | None:
        if part is None:
            return SyncRefusal("missing", name, f"waiting for {self._labels.get(name, name)}: no message yet")
        age_ns, silence_ns = now_ns - part.stamp_ns, steady_ns - part.arrival_ns
        if limits.max_age_ns and age_ns > limits.max_age_ns:
            return SyncRefusal(
                "stale", name, f"{name} is {age_ns * 1e-9:.3f} s old, limit {limits.max_age_ns * 1e-9:.3f} s"
            )
        if limits.max_silence_ns and silence_ns > limits.max_silence_ns:
            which = f"{name} ({part.laggards})" if part.laggards else name
            return SyncRefusal("stale", name, f"{which} has been silent for {silence_ns * 1e-9:.3f} s")
        return None

    @staticmethod
    def _aged(found: SyncedInputs, laggard: str, now_ns: int, limits: SyncLimits) -> SyncRefusal | None:
        age_ns = now_ns - found.oldest_ns
        if limits.max_age_ns and age_ns > limits.max_age_ns:
            return SyncRefusal("stale", laggard, f"{laggard} is {age_ns * 1e-9:.3f} s old")
        return None


def _nearest(history: deque[StreamSample], moment_ns: int) -> StreamSample:
    best = history[-1]
    # Stamps grow: from the newest backwards the distance falls, then rises for good.
    for part in reversed(history):
        if abs(part.stamp_ns - moment_ns) > abs(best.stamp_ns - moment_ns):
            break
        best = part
    return best
