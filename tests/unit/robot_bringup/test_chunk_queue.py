# SPDX-License-Identifier: Apache-2.0
"""Row 22: duplicates, late, permuted and foreign chunks, judged step for step by a reference model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_bringup.core.chunk import Chunk
from robot_bringup.core.chunk_queue import ChunkAcceptance, ChunkQueue, Execution
from whetstone_common.core.stamp import Stamp

H, DT_S, EXECUTE = 8, 0.05, 4
NS = 1_000_000_000


def chunk(stamp: Stamp, *, source: str = "/steering", epoch: int = 1, observed_slot: int = 0) -> Chunk:
    return Chunk(
        stamp=Stamp(stamp.epoch, stamp.episode, stamp.request_id, stamp.sequence, slot_ns(observed_slot)),
        source=source,
        source_epoch=epoch,
        contract_hash="c",
        space="joint",
        action_names=("a", "gripper"),
        reference=np.zeros(1),
        dt_s=DT_S,
        actions=np.full((H, 2), float(stamp.request_id)),
        execute_steps=EXECUTE,
        valid_for_s=10.0,
    )


def slot_ns(slot: int) -> int:
    return NS + round(slot * DT_S * NS)


def queue(execution: Execution = Execution.ASYNC, **changes: int) -> ChunkQueue:
    return ChunkQueue(execution, **{"execute_steps": 0, "open_loop_steps": H, "blend_steps": 0} | changes)


def offer(target: ChunkQueue, given_chunk: Chunk, slot: int) -> ChunkAcceptance:
    age_s = (slot_ns(slot) - given_chunk.stamp.observation_ns) / NS
    verdict = target.judge(given_chunk, slot=slot, age_s=age_s)
    if verdict is ChunkAcceptance.TAKEN:
        target.take(given_chunk, slot=slot, age_s=age_s)
    return verdict


@dataclass
class Reference:
    """The same promise, written the long way: a table of what each slot plays."""

    newest: Stamp | None = None
    answered: set[Stamp] = field(default_factory=set)
    source: tuple[str, int] | None = None
    plan: dict[int, tuple[int, int]] = field(default_factory=dict)
    started: bool = False

    def offer(self, given_chunk: Chunk, slot: int) -> None:
        key = Stamp(given_chunk.stamp.epoch, given_chunk.stamp.episode, given_chunk.stamp.request_id)
        if self.source is not None and self.source != (given_chunk.source, given_chunk.source_epoch):
            return
        if key != self.newest or key in self.answered:
            return
        observed = round((given_chunk.stamp.observation_ns - NS) / NS / DT_S)
        first = observed if self.started else slot
        if slot - first >= H:
            return
        self.source = (given_chunk.source, given_chunk.source_epoch)
        self.answered.add(key)
        self.started = True
        self.plan = {}
        for step in range(H):
            if first + step >= slot and first + step - slot < H:
                self.plan[first + step] = (key.request_id, step)


events = st.lists(
    st.one_of(
        st.just(("slot",)),
        st.just(("slot",)),
        st.just(("ask",)),
        st.tuples(st.just("reply"), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("rogue"), st.integers(0, 3)),
        st.tuples(st.just("other_epoch"), st.integers(0, 3)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(events)
def test_when_chunks_are_duplicated_delayed_and_permuted_expect_the_reference_model_step_for_step(script):
    tested, model = queue(), Reference()
    asked: list[tuple[Stamp, int]] = []
    slot = 0
    for event in script:
        if event[0] == "slot":
            step = tested.step(slot)
            expected = model.plan.get(slot)
            assert (None if step is None else (step.chunk.stamp.request_id, step.index)) == expected
            slot += 1
        elif event[0] == "ask":
            stamp = Stamp(7, 1, len(asked) + 1)
            asked.append((stamp, slot))
            tested.requested(stamp)
            model.newest = stamp
        elif asked:
            stamp, observed = asked[-1 - min(event[1], len(asked) - 1)]
            late = event[2] if event[0] == "reply" else 0
            answer = chunk(stamp, observed_slot=max(0, observed - late))
            if event[0] == "rogue":
                answer = chunk(stamp, source="/rogue", observed_slot=observed)
                if tested.chunk is None and model.source is None:
                    continue  # whoever answers first is the source
            if event[0] == "other_epoch":
                answer = chunk(Stamp(6, 1, stamp.request_id), observed_slot=observed)
            offer(tested, answer, slot)
            model.offer(answer, slot)


def test_when_a_chunk_is_offered_twice_expect_it_taken_once():
    tested = queue()
    tested.requested(Stamp(1, 1, 1))
    assert offer(tested, chunk(Stamp(1, 1, 1)), 0) is ChunkAcceptance.TAKEN
    assert offer(tested, chunk(Stamp(1, 1, 1)), 3) is ChunkAcceptance.DUPLICATE
    step = tested.step(3)
    assert step is not None and step.index == 3


@pytest.mark.parametrize("stamp", [Stamp(1, 1, 1), Stamp(1, 2, 2), Stamp(2, 1, 2), Stamp(1, 1, 3)])
def test_when_it_answers_another_request_episode_or_epoch_expect_foreign(stamp):
    tested = queue()
    tested.requested(Stamp(1, 1, 1))
    tested.requested(Stamp(1, 1, 2))
    assert offer(tested, chunk(stamp), 0) is ChunkAcceptance.FOREIGN


def test_when_the_reply_is_late_expect_skipped_steps_and_never_squeezed_ones():
    tested = queue()
    tested.requested(Stamp(1, 1, 1))
    offer(tested, chunk(Stamp(1, 1, 1), observed_slot=0), 0)
    tested.requested(Stamp(1, 1, 2))
    offer(tested, chunk(Stamp(1, 1, 2), observed_slot=2), 5)
    played = [tested.step(slot) for slot in range(5, 12)]
    assert [None if step is None else step.index for step in played] == [3, 4, 5, 6, 7, None, None]


def test_when_all_steps_are_over_expect_stale():
    tested = queue()
    tested.requested(Stamp(1, 1, 1))
    offer(tested, chunk(Stamp(1, 1, 1)), 0)
    tested.requested(Stamp(1, 1, 2))
    assert offer(tested, chunk(Stamp(1, 1, 2), observed_slot=0), H) is ChunkAcceptance.STALE


def test_when_synchronous_expect_only_the_executed_part_and_a_start_at_step_zero():
    tested = queue(Execution.SYNC)
    tested.requested(Stamp(1, 1, 1))
    offer(tested, chunk(Stamp(1, 1, 1), observed_slot=0), 3)
    assert [s.index if (s := tested.step(slot)) else None for slot in range(3, 9)] == [0, 1, 2, 3, None, None]
    assert not tested.wants_request(6, 0) and tested.wants_request(7, 0)


def test_when_the_sender_is_silent_expect_no_step_after_the_open_loop_bound():
    tested = queue(open_loop_steps=3)
    tested.requested(Stamp(1, 1, 1))
    offer(tested, chunk(Stamp(1, 1, 1)), 0)
    assert [tested.step(slot) is None for slot in range(5)] == [False, False, False, True, True]


def test_when_asking_early_expect_committed_steps_aligned_with_the_request():
    tested = queue()
    tested.requested(Stamp(1, 1, 1))
    first = chunk(Stamp(1, 1, 1))
    offer(tested, first, 0)
    assert not tested.wants_request(1, 2) and tested.wants_request(2, 2)
    actions, reference = tested.committed(2, 3)
    np.testing.assert_array_equal(actions, first.actions[2:5])
    assert reference is first.reference


def test_when_blending_expect_the_old_chunk_to_fade():
    tested = queue(blend_steps=3)
    tested.requested(Stamp(1, 1, 1))
    offer(tested, chunk(Stamp(1, 1, 1)), 0)
    tested.requested(Stamp(1, 1, 2))
    offer(tested, chunk(Stamp(1, 1, 2), observed_slot=2), 4)
    weights = [step.weight for slot in range(4, 8) if (step := tested.step(slot))]
    assert weights == [0.25, 0.5, 0.75, 1.0]


def test_when_another_process_of_the_same_name_answers_expect_it_only_in_the_next_episode():
    tested = queue()
    tested.requested(Stamp(1, 1, 1))
    offer(tested, chunk(Stamp(1, 1, 1)), 0)
    tested.requested(Stamp(1, 1, 2))
    assert offer(tested, chunk(Stamp(1, 1, 2), epoch=2), 1) is ChunkAcceptance.SECOND_SOURCE
    tested.new_episode()
    tested.requested(Stamp(1, 2, 3))
    assert offer(tested, chunk(Stamp(1, 2, 3), epoch=2), 0) is ChunkAcceptance.TAKEN
    tested.new_episode()
    tested.requested(Stamp(1, 3, 4))
    assert offer(tested, chunk(Stamp(1, 3, 4), source="/rogue"), 0) is ChunkAcceptance.SECOND_SOURCE
    tested.forget_source()
    tested.requested(Stamp(1, 3, 4))
    assert offer(tested, chunk(Stamp(1, 3, 4), source="/rogue"), 0) is ChunkAcceptance.TAKEN


def test_when_chunks_go_on_from_the_old_one_expect_no_blend():
    tested = queue(Execution.RTC, blend_steps=2)
    assert tested._blend_steps == 0
