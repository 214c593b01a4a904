# SPDX-License-Identifier: Apache-2.0
"""Which step of which chunk plays in which slot.

A slot is one policy step of the arm, counted from the start of the episode. A chunk maps slots to its steps once, when
it is taken in: step k plays in slot first_slot + k. Synchronous execution starts at step 0 whenever the chunk comes
(the arm held still); asynchronous execution aligns by the stamp of the observation, so late steps are skipped and never
squeezed. The queue holds one chunk at a time, and during a blend the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from robot_bringup.core.chunk import FUTURE_TOLERANCE_S, Chunk
from whetstone_common.core.stamp import Stamp

Array = npt.NDArray[np.float64]

# Joint states of 50 Hz and more count as fresh although they were measured just before they were asked for.
_FRESH_TOLERANCE_NS = 25_000_000


class Execution(Enum):
    """How chunks follow each other."""

    SYNC = "sync"  # ask when the executed part ends, hold meanwhile
    ASYNC = "async"  # ask early, align by stamp, blend
    RTC = "rtc"  # ask early, align by stamp; the policy goes on from what is left of the old chunk


class ChunkAcceptance(Enum):
    """What became of an offered chunk."""

    TAKEN = "taken"
    DUPLICATE = "duplicate"  # of a request that was answered
    FOREIGN = "foreign"  # not the request that was made last
    SECOND_SOURCE = "second_source"
    STALE = "stale"  # its observation is too old, or all its steps are over
    FUTURE = "future"  # its observation lies in the future


@dataclass(frozen=True, eq=False)
class ChunkStep:
    """What plays in a slot.

    Attributes:
        chunk: The chunk.
        index: Its step.
        old: The chunk before, while it is faded out.
        old_index: Its step.
        weight: Share of the new chunk, 1 when nothing is faded.
        ends: Whether the arm will hold after it (synchronous execution).
    """

    chunk: Chunk
    index: int
    old: Chunk | None = None
    old_index: int = 0
    weight: float = 1.0
    ends: bool = False


@dataclass(frozen=True, eq=False)
class _PlayingChunk:
    chunk: Chunk
    first_slot: int  # slot of step 0, may lie before `from_slot`
    from_slot: int  # first slot that plays

    def index(self, slot: int) -> int | None:
        """Step of the chunk that belongs to a slot."""
        index = slot - self.first_slot
        return index if slot >= self.from_slot and index < self.chunk.horizon else None


class ChunkQueue:
    """The chunk in hand and the request that is out.

    Args:
        execution: How chunks follow each other.
        execute_steps: Steps to play of a chunk, 0 leaves it to the chunk.
        open_loop_steps: Steps after which a chunk stops playing in any case.
        blend_steps: Steps over which the old chunk is faded out (asynchronous execution).
    """

    def __init__(self, execution: Execution, *, execute_steps: int, open_loop_steps: int, blend_steps: int) -> None:
        self._execution = execution
        self._execute_steps = execute_steps
        self._open_loop_steps = max(1, open_loop_steps)
        self._blend_steps = blend_steps if execution is Execution.ASYNC else 0
        self._source = ""
        self._source_epoch = 0
        self._now: _PlayingChunk | None = None
        self._old: _PlayingChunk | None = None
        self._out: Stamp | None = None
        self._answered: Stamp | None = None
        self._adopt_slot = 0
        self._not_before_ns = 0

    # ---- requests ----------------------------------------------------------------------------------------------

    @property
    def outstanding(self) -> Stamp | None:
        """The request that waits for its chunk."""
        return self._out

    @property
    def chunk(self) -> Chunk | None:
        """The chunk in hand."""
        return None if self._now is None else self._now.chunk

    def wants_request(self, slot: int, delay_steps: int) -> bool:
        """Whether the next chunk should be asked for at the beginning of a slot.

        Args:
            slot: The slot that begins.
            delay_steps: Slots that will pass before the reply is here (asynchronous execution).
        """
        if self._out is not None:
            return False
        if self._now is None:
            return True
        ahead = 0 if self._execution is Execution.SYNC else delay_steps
        return slot >= self._now.from_slot + max(0, self._steps_of(self._now.chunk) - ahead)

    def requested(self, stamp: Stamp, *, not_before_ns: int = 0, adopt_slot: int = 0) -> None:
        """Note the request that was sent; every earlier one is void.

        Args:
            stamp: Its stamp.
            not_before_ns: Oldest observation that was asked for.
            adopt_slot: The reply plays no earlier than this, even when it comes earlier, and from this slot on the old
                chunk does not play. In lockstep this makes the episode independent of how fast the policy is. 0 when
                the reply plays as soon as it is here.
        """
        self._out = stamp
        self._not_before_ns = not_before_ns
        self._adopt_slot = adopt_slot

    def committed(self, slot: int, steps: int) -> tuple[Array, Array | None]:
        """Steps of the chunk in hand that play in any case, from `slot` on.

        Returns:
            Actions (rows, A) with at most `steps` rows, and the reference they are relative to.
        """
        if self._now is None:
            return np.empty((0, 0)), None
        start = slot - self._now.first_slot
        stop = min(start + steps, self._now.from_slot - self._now.first_slot + self._open_loop_steps)
        return self._now.chunk.actions[start : max(start, stop)], self._now.chunk.reference

    def cancel(self) -> None:
        """Void the request that is out: its reply will be foreign."""
        self._out = None

    def drop_chunk(self) -> None:
        """Drop the chunk in hand; the request that is out stays valid."""
        self._now = self._old = None

    def clear(self) -> None:
        """Drop the chunk in hand and void the request that is out."""
        self._now = self._old = self._out = None

    def new_episode(self) -> None:
        """Drop everything, and allow the policy's process to be another one than in the last episode."""
        self.clear()
        self._source_epoch = 0
        self._answered = None

    def inherit_source(self, other: ChunkQueue) -> None:
        """Keep to the policy that another queue knows."""
        self._source = other._source

    def forget_source(self) -> None:
        """Take the next policy that speaks, whatever its name."""
        self.new_episode()
        self._source = ""

    # ---- chunks --------------------------------------------------------------------------------------------------

    def judge(self, chunk: Chunk, *, slot: int, age_s: float) -> ChunkAcceptance:
        """What would become of a chunk; changes nothing.

        Args:
            chunk: Not necessarily sane.
            slot: The next slot that begins.
            age_s: Time from its observation to the beginning of that slot.
        """
        if self._is_second(chunk):
            return ChunkAcceptance.SECOND_SOURCE
        if self._answered is not None and chunk.stamp.same_request(self._answered):
            return ChunkAcceptance.DUPLICATE
        if self._out is None or not chunk.stamp.same_request(self._out):
            return ChunkAcceptance.FOREIGN
        if age_s < -FUTURE_TOLERANCE_S:
            return ChunkAcceptance.FUTURE
        late = slot - self._first_slot(chunk, slot, age_s) >= max(1, chunk.horizon)
        unasked = chunk.stamp.observation_ns < self._not_before_ns - _FRESH_TOLERANCE_NS
        if late or unasked or not age_s <= chunk.valid_for_s:
            return ChunkAcceptance.STALE
        return ChunkAcceptance.TAKEN

    def take(self, chunk: Chunk, *, slot: int, age_s: float) -> None:
        """Take in a chunk that was judged TAKEN with the same arguments and whose content is sane."""
        first_slot = self._first_slot(chunk, slot, age_s)
        self._source, self._source_epoch = chunk.source, chunk.source_epoch
        self._answered, self._out = chunk.stamp, None
        self._old = self._now
        self._now = _PlayingChunk(chunk, first_slot, max(slot, self._adopt_slot))

    def _is_second(self, chunk: Chunk) -> bool:
        if self._source and chunk.source != self._source:
            return True
        return bool(self._source_epoch) and chunk.source_epoch != self._source_epoch

    def _first_slot(self, chunk: Chunk, slot: int, age_s: float) -> int:
        if self._execution is Execution.SYNC or self._now is None:
            return slot
        return slot - max(0, round(age_s / chunk.dt_s))

    # ---- playing -------------------------------------------------------------------------------------------------

    def step(self, slot: int) -> ChunkStep | None:
        """What plays in a slot; None when the arm must hold (or, in lockstep, wait)."""
        now = self._now
        if now is None:
            return None
        if slot < now.from_slot:  # taken in early, plays later
            return self._alone(self._old, slot)
        if self._out is not None and 0 < self._adopt_slot <= slot:
            return None
        if self._over(now, slot):
            return None
        return self._faded(now, slot)

    def _alone(self, playing: _PlayingChunk | None, slot: int) -> ChunkStep | None:
        index = None if playing is None or self._over(playing, slot) else playing.index(slot)
        return None if playing is None or index is None else ChunkStep(playing.chunk, index)

    def _faded(self, now: _PlayingChunk, slot: int) -> ChunkStep | None:
        index = now.index(slot)
        if index is None:
            return None
        played = slot - now.from_slot
        old_index = self._old.index(slot) if self._old is not None and played < self._blend_steps else None
        if self._old is None or old_index is None:
            ends = self._execution is Execution.SYNC and self._over(now, slot + 1)
            return ChunkStep(now.chunk, index, ends=ends)
        weight = (played + 1) / (self._blend_steps + 1)
        return ChunkStep(now.chunk, index, self._old.chunk, old_index, weight)

    def _over(self, playing: _PlayingChunk, slot: int) -> bool:
        played = slot - playing.from_slot
        bound = self._open_loop_steps
        if self._execution is Execution.SYNC:
            bound = self._steps_of(playing.chunk)
        return played >= bound

    def _steps_of(self, chunk: Chunk) -> int:
        wanted = self._execute_steps or chunk.execute_steps
        return min(wanted, self._open_loop_steps, chunk.horizon)
