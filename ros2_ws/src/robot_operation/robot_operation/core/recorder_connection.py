# SPDX-License-Identifier: Apache-2.0
"""Whether what is done in an episode will reach the recorder of transitions; time is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RecordPublisher:
    """A process whose records are stored: base name of its node, and its epoch."""

    name: str
    epoch_ns: int


class RecorderConnection:
    """Newest message of the recorder on the sources it receives from.

    Args:
        silent_after_s: A recorder that has said nothing for so long is gone.
    """

    def __init__(self, silent_after_s: float) -> None:
        self._silent_after_s = silent_after_s
        self._sources: frozenset[tuple[str, int]] = frozenset()
        self._recorder_epoch = 0
        self._said_s = float("-inf")

    def update(self, recorder_epoch: int, sources: Mapping[tuple[str, int], None], now_s: float) -> None:
        """Take the recorder's word: (topic, epoch of the process) of each source."""
        self._recorder_epoch, self._sources, self._said_s = recorder_epoch, frozenset(sources), now_s

    def missing(self, sources: Mapping[str, RecordPublisher], recorder_epoch: int | None, now_s: float) -> str:
        """Sources that the recorder does not receive from, empty for none; without a recorder there is nothing to miss.

        Args:
            sources: Who publishes on each topic.
            recorder_epoch: Of the recorder that must be there, None when there need not be one.
            now_s: Steady clock.
        """
        is_there = now_s - self._said_s <= self._silent_after_s
        if recorder_epoch is not None and not (is_there and self._recorder_epoch == recorder_epoch):
            return "the recorder of transitions has not published its sources"
        if not is_there:
            return ""
        missing = [f"{t} of {s.name}" for t, s in sources.items() if (t, s.epoch_ns) not in self._sources]
        return f"the recorder of transitions does not receive {', '.join(missing)} yet" if missing else ""
