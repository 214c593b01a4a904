# SPDX-License-Identifier: Apache-2.0
"""Decides which message goes to which episode's file; time is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experience.core.recording.episode_file import EpisodeFile, Message


@dataclass(frozen=True)
class RecorderLimits:
    """How much is kept around an episode.

    Attributes:
        before_s: Wall time kept from before the start event: the first frames of an episode precede it.
        linger_s: Wall time to wait after the end event for what is still on its way.
        max_buffered: Messages kept at most while no episode runs.
    """

    before_s: float = 5.0
    linger_s: float = 0.3
    max_buffered: int = 2000


class Recorder:
    """Buffer before an episode, file during it, a short wait after it.

    Attributes:
        problem: Why the newest episode is not kept, empty while it is.
        lost: Episodes that the disk did not take.
        discarded_bytes: Of the newest of them, what the disk had taken before it refused.
    """

    def __init__(
        self,
        open_file: Callable[[str], EpisodeFile],
        limits: RecorderLimits,
        *,
        outcomes: frozenset[str] = frozenset(),
        latched: frozenset[str] = frozenset(),
    ) -> None:
        """Prepare to record.

        Args:
            open_file: Opens the file of an episode, by its stem.
            limits: What is kept around an episode.
            outcomes: Outcomes that are kept; empty keeps all.
            latched: Topics that speak once for many episodes; their newest message opens every file.
        """
        self._open_file = open_file
        self._limits = limits
        self._outcomes = outcomes
        self._latched: dict[str, Message | None] = dict.fromkeys(latched)
        self._buffer: deque[tuple[float, Message]] = deque(maxlen=limits.max_buffered)
        self._file: EpisodeFile | None = None
        self._ending: tuple[float, dict[str, str]] | None = None
        self.problem = ""
        self.lost = self.discarded_bytes = 0

    @property
    def is_busy(self) -> bool:
        """Whether an episode is being recorded, or waits for what is still on its way."""
        return self._file is not None

    @property
    def is_ending(self) -> bool:
        """Whether the episode that is recorded has ended."""
        return self._ending is not None

    def message(self, message: Message, now_s: float) -> None:
        """Take a message."""
        if message.topic in self._latched:
            self._latched[message.topic] = message
        if self._file is not None:
            self._write(self._file, [message])
            return
        self._buffer.append((now_s, message))

    def started(self, stem: str, now_s: float) -> Path | None:
        """Begin an episode; returns the file of the one before, when that was still waiting."""
        finished = self._close()
        self.problem = ""
        fresh = [message for seen_s, message in self._buffer if now_s - seen_s <= self._limits.before_s]
        latched = [message for message in self._latched.values() if message is not None and message not in fresh]
        self._buffer.clear()
        try:
            self._file = self._open_file(stem)
        except OSError as error:
            self._lose(str(error))
            return finished
        self._write(self._file, [*latched, *fresh])
        return finished

    def refuse(self, problem: str) -> Path | None:
        """Let an episode pass that cannot be kept; returns the file of the one before, as `started` does."""
        finished = self._close()
        self._lose(problem)
        return finished

    def abandon(self) -> None:
        """Forget an episode of which no end will come."""
        self._ending = None
        self._close()

    def _write(self, file: EpisodeFile, messages: Sequence[Message]) -> None:
        try:
            for message in messages:
                file.write(message)
        except OSError as error:
            self._file = self._ending = None
            self._discard(file, error)

    def _discard(self, file: EpisodeFile, error: OSError) -> None:
        """Let an episode go that the disk does not take."""
        self.discarded_bytes = file.size_bytes
        file.discard()
        self._lose(f"{file.path}: {error.strerror or error}")

    def _lose(self, problem: str) -> None:
        self.problem = problem
        self.lost += 1

    def ended(self, metadata: Mapping[str, str], now_s: float) -> None:
        """End the episode, soon; `metadata["outcome"]` decides whether the file stays."""
        if self._file is not None and self._ending is None:
            self._ending = (now_s + self._limits.linger_s, dict(metadata))

    def tick(self, now_s: float) -> Path | None:
        """Close a file whose time has come; returns it when it was kept."""
        if self._ending is None or now_s < self._ending[0]:
            return None
        return self._close()

    def close(self) -> Path | None:
        """Finish an episode that has ended; an unfinished one is discarded."""
        return self._close()

    def _close(self) -> Path | None:
        file, ending = self._file, self._ending
        self._file = self._ending = None
        if file is None:
            return None
        kept = ending is not None and (not self._outcomes or ending[1].get("outcome") in self._outcomes)
        if not kept or ending is None:
            file.discard()
            return None
        try:
            return file.finish(ending[1])
        except OSError as error:
            self._discard(file, error)
            return None
