# SPDX-License-Identifier: Apache-2.0
"""Records in any order become whole episodes of transitions, or an entry that says why not."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from experience.core.episode import Rules
from experience.core.join import JoinedEpisode, Joiner
from experience.core.records import Decision, EpisodeEventKind, Event, StepRecord, StepReward
from fakes.rl_episodes import CONTRACT, A, C, F, H, decision, end, judgement, plain_episode, step, tick_ns
from whetstone_common.core.enums import Actor, RequestKind

GRACE_S = 2.0


def joiner(**changes: Any) -> Joiner:
    rules = Rules(C, changes.pop("keep_aborted", False), changes.pop("lockstep", False))
    made = Joiner(rules, **({"grace_s": GRACE_S, "max_steps": 100} | changes))
    made.on_contract(CONTRACT)
    return made


def feed(made: Joiner, records: Iterable[Any], now_s: float = 0.0) -> None:
    for record in records:
        take = {Decision: made.on_decision, StepRecord: made.on_step, StepReward: made.on_reward, Event: made.on_event}
        take[type(record)](record, now_s)


def joined(records: Iterable[Any], *, at_s: float = 0.0, **changes: Any) -> JoinedEpisode:
    made = joiner(**changes)
    feed(made, records)
    (batch,) = made.collect(at_s)
    return batch


def test_when_an_episode_succeeds_expect_a_window_per_decision_with_the_next_decision() -> None:
    batch = joined(plain_episode(10))
    first, second, last = batch.transitions
    assert [t.episode_step for t in batch.transitions] == [0, 4, 8]
    assert [t.steps for t in batch.transitions] == [4, 4, 2]
    assert [t.mask for t in batch.transitions] == [1.0, 1.0, 0.0]
    assert [t.rewards.tolist() for t in batch.transitions] == [[0.0] * 4, [0.0] * 4, [0.0, 1.0]]
    assert [t.later_rewards.tolist() for t in batch.transitions] == [[0.0] * 5 + [1.0], [0.0, 1.0], []]
    assert all(t.valid for t in batch.transitions)
    assert first.next_features.tolist() == second.features.tolist() == [4.0] * F
    assert np.array_equal(first.next_candidates, second.candidates)
    assert np.array_equal(first.next_noise, second.noise)
    assert last.next_features.shape == (0,) and last.next_candidates.shape == (0, H, A)
    assert (first.outcome, first.task, first.episode_steps) == (EpisodeEventKind.SUCCEEDED, "pick_place", 10)
    assert (first.chosen, first.policy_version, first.request_id) == (1, 7, 1)
    assert (batch.entry.transitions, batch.entry.dropped, batch.entry.outcome) == (3, "", "succeeded")


def test_when_an_episode_was_an_evaluation_expect_nothing_to_learn_from_and_a_reason() -> None:
    *records, last = plain_episode(10)
    batch = joined([*records, replace(last, evaluation=True)])
    assert (batch.transitions, batch.entry.dropped) == ((), "evaluation")


def test_when_steps_were_executed_expect_them_relative_to_the_windows_reference_and_normalised() -> None:
    second = joined(plain_episode(10)).transitions[1]
    # Steps 4..9; the tail behind step 7 belongs to the next chunk, which has another reference of its own.
    x_m = np.array([5, 6, 7, 8, 9, 10]) / 10 - 0.04
    assert second.actions[:, 0] == pytest.approx((x_m - 0.25) / 0.5)
    assert second.actions[:, 6] == pytest.approx((np.arange(4, 10) / 100 - 0.25) / 0.5)


def rows_of(chunk: int) -> list[list[float]]:
    """A chunk of `decision`, whose every number is its request."""
    return [[float(chunk)] * A] * H


def test_when_a_chunk_is_cut_by_the_end_expect_its_own_rest_behind_what_was_executed() -> None:
    *_, before, last = joined(plain_episode(10)).transitions
    assert last.actions[:2, 0] == pytest.approx((np.array([9, 10]) / 10 - 0.08 - 0.25) / 0.5)
    assert last.actions[2:].tolist() == rows_of(3)[2:]
    # The chunk before was displaced by the last one, so what was executed is all there is.
    assert before.actions.shape == (H, A) and not (before.actions == 2.0).all(axis=1).any()


def test_when_the_end_cuts_a_chunk_that_was_asked_ahead_expect_the_rows_that_were_next() -> None:
    # Chunk 2 is of the observation at step 3 and plays from its row 1 on; rows 3 to 5 are left.
    marked = np.arange(H * A, dtype=np.float32).reshape(H, A)
    records = [decision(1, 0), *(step(i, 1, i) for i in range(4)), decision(2, 3, chosen_chunk=marked)]
    records += [*(step(i, 2, i - 3) for i in (4, 5)), judgement(6), end(6)]
    last = joined(records).transitions[-1]
    assert last.episode_step == 3 and np.array_equal(last.actions[3:], marked[3:])


def test_when_a_person_ends_the_episode_expect_their_last_step_repeated() -> None:
    records = [r for r in plain_episode(10) if not (isinstance(r, StepRecord) and r.episode_step == 9)]
    last = joined([*records, step(9, 3, 0, actor=Actor.HUMAN)]).transitions[-1]
    assert last.actions[1:].tolist() == [last.actions[1].tolist()] * (H - 1)


def test_when_a_look_or_a_displaced_chunk_reaches_the_end_expect_the_last_step_repeated() -> None:
    records = plain_episode(10)
    records[-2:-2] = [
        decision(100, 6, request_kind=RequestKind.QUERY_ONLY),
        decision(101, 9, request_kind=RequestKind.QUERY_ONLY),
    ]
    made = {t.episode_step: t for t in joined(records, at_s=0.4).transitions}
    assert sorted(made) == [0, 4, 6, 8, 9]
    for look in (made[6], made[9]):
        left = 10 - look.episode_step
        assert look.actions[left - 1 :].tolist() == [look.actions[left - 1].tolist()] * (H - left + 1)
    # Chunk 1 gave way to chunk 2 after two of its six steps, and the episode ends one step later.
    cut = [decision(1, 0), step(0, 1, 0), step(1, 1, 1), decision(2, 2), step(2, 2, 0), judgement(3), end(3)]
    first, last = joined(cut).transitions
    assert first.actions[2:].tolist() == [first.actions[2].tolist()] * (H - 2)
    assert last.actions[1:].tolist() == rows_of(2)[1:]


@pytest.mark.parametrize("outcome", [EpisodeEventKind.FAILED, EpisodeEventKind.TIMED_OUT])
def test_when_an_episode_fails_or_times_out_expect_no_reward_and_the_same_mask(outcome: EpisodeEventKind) -> None:
    transitions = joined(plain_episode(8, outcome)).transitions
    assert [(t.rewards.tolist(), t.mask) for t in transitions] == [([0.0] * 4, 1.0), ([0.0] * 4, 0.0)]


@pytest.mark.parametrize("seed", range(20))
def test_when_messages_come_shuffled_and_twice_expect_the_same_transitions(seed: int) -> None:
    records = plain_episode(10)
    mixed = records + records[2:5]
    random.Random(seed).shuffle(mixed)
    made = joiner()
    feed(made, mixed)
    (batch,) = made.collect(0.0)
    for got, wanted in zip(batch.transitions, joined(records).transitions, strict=True):
        assert got.episode_step == wanted.episode_step
        assert np.array_equal(got.actions, wanted.actions) and np.array_equal(got.rewards, wanted.rewards)
    assert made.counters["duplicates"] == 3


def test_when_a_person_takes_over_expect_their_actions_in_the_window_and_who_acted() -> None:
    records = [r for r in plain_episode(8) if not (isinstance(r, StepRecord) and r.episode_step in (2, 3))]
    records += [step(i, 1, 0, actor=Actor.HUMAN) for i in (2, 3)]
    first = joined(records).transitions[0]
    assert first.actors.tolist() == [1, 1, 2, 2]
    assert first.actions[:, 0] == pytest.approx((np.arange(1, 7) / 10 - 0.25) / 0.5)


def test_when_a_person_saves_an_episode_expect_no_merit_of_it_in_the_windows_before_their_own() -> None:
    records = [r for r in plain_episode(12) if not (isinstance(r, StepRecord) and r.episode_step in (5, 6))]
    records += [step(i, 2, i - 4, actor=Actor.HUMAN) for i in (5, 6)]
    made = joined(records).transitions
    assert [t.episode_step for t in made] == [0, 4, 8]
    assert [t.rejected_by_human for t in made] == [False, True, False]
    # The window before the takeover at step 5 sees nothing from there on; the others see the success at step 11.
    assert [t.rewards.tolist() for t in made] == [[0.0] * 4, [0.0] * 4, [0.0, 0.0, 0.0, 1.0]]
    assert [t.later_rewards.tolist() for t in made] == [[0.0], [0.0, 0.0, 0.0, 1.0], []]


def test_when_a_takeover_cuts_a_chunk_expect_the_window_to_end_at_the_next_decision_within_reach() -> None:
    # Chunk 1 plays two steps, a person drives three, then chunk 2 starts at step 5: later than C, within the horizon.
    records = [decision(1, 0), *(step(i, 1, i) for i in (0, 1))]
    records += [step(i, 1, 0, actor=Actor.HUMAN) for i in (2, 3, 4)]
    records += [decision(2, 5), *(step(i, 2, i - 5) for i in (5, 6)), judgement(7), end(7)]
    first, second = joined(records).transitions
    assert (first.episode_step, first.steps, second.episode_step, second.steps) == (0, 5, 5, 2)
    assert first.next_features.tolist() == [5.0] * F


def test_when_the_next_decision_is_out_of_the_chunks_reach_expect_no_window_and_a_count() -> None:
    records = [decision(1, 0), step(0, 1, 0)]
    records += [step(i, 1, 0, actor=Actor.HUMAN) for i in range(1, 9)]
    records += [decision(2, 9), step(9, 2, 0), judgement(10), end(10)]
    batch = joined(records)
    assert [t.episode_step for t in batch.transitions] == [9]
    assert dict(batch.entry.unused) == {"windows without a next decision": 1}


def test_when_there_are_looks_expect_windows_from_them_too() -> None:
    records = plain_episode(8)
    records[3:3] = [decision(100 + i, i, request_kind=RequestKind.QUERY_ONLY) for i in (2, 4, 6)]
    batch = joined(records, at_s=0.4)
    assert [(t.episode_step, t.request_kind, t.steps) for t in batch.transitions] == [
        (0, 0, 4), (2, 1, 4), (4, 0, 4), (6, 1, 2),
    ]  # fmt: skip
    # At step 4 the chunk that played counts, not the look.
    assert batch.transitions[0].next_candidates[0, 0, 0] == 2.0
    assert dict(batch.entry.unused) == {"decisions at the same step": 1}


def test_when_looks_may_be_under_way_expect_a_moment_of_patience() -> None:
    made = joiner()
    feed(made, [*plain_episode(8), decision(100, 2, request_kind=RequestKind.QUERY_ONLY)])
    assert made.collect(0.1) == []
    feed(made, [decision(101, 6, request_kind=RequestKind.QUERY_ONLY)], now_s=0.2)
    assert made.collect(0.4) == []
    assert made.collect(0.6)[0].entry.transitions == 4


def test_when_a_decision_was_asked_ahead_expect_its_window_to_start_at_its_observation() -> None:
    # Asynchronous: chunk 2 is of the observation at step 3 and plays from its row 1 on.
    records = [decision(1, 0), *(step(i, 1, i) for i in range(4)), decision(2, 3)]
    records += [*(step(i, 2, i - 3) for i in range(4, 8)), judgement(8), end(8)]
    assert [(t.episode_step, t.steps) for t in joined(records).transitions] == [(0, 3), (3, 5)]


def test_when_an_episode_is_aborted_expect_no_transition_but_an_entry() -> None:
    batch = joined(plain_episode(10, EpisodeEventKind.ABORTED))
    assert (batch.transitions, batch.entry.dropped, batch.entry.outcome) == ((), "aborted", "aborted")


@pytest.mark.row(77)
@pytest.mark.parametrize(
    ("words", "dropped"), [("put the red cube on the blue plate", ""), ("", ""), ("stack it", "another instruction")]
)
def test_when_a_decision_followed_other_words_expect_nothing_learnt_from_the_episode(words: str, dropped: str) -> None:
    *records, last = plain_episode(10)
    assert isinstance(last, Event)
    batch = joined([*records, replace(last, instruction=words)], at_s=0.4)
    assert batch.entry.dropped.startswith(dropped) and bool(batch.transitions) is not bool(dropped)


def test_when_aborted_episodes_are_kept_expect_whole_windows_only() -> None:
    batch = joined(plain_episode(10, EpisodeEventKind.ABORTED), keep_aborted=True, at_s=0.4)
    assert [(t.episode_step, t.mask, t.steps) for t in batch.transitions] == [(0, 1.0, 4), (4, 1.0, 4)]
    assert dict(batch.entry.unused) == {"windows without a next decision": 1}


@pytest.mark.parametrize(
    ("lost", "reason"), [(StepRecord, "missing steps"), (StepReward, "missing reward"), (Event, "no end")]
)
def test_when_something_stays_missing_expect_the_episode_dropped_with_the_reason(lost: type, reason: str) -> None:
    made = joiner()
    records = plain_episode(10)
    feed(made, [r for r in records if not isinstance(r, lost) or (lost is StepRecord and r.episode_step != 3)])
    if lost is Event:
        feed(made, plain_episode(1, episode=2)[:1])
    assert made.collect(GRACE_S - 0.1) == []
    batches = made.collect(GRACE_S)
    assert [(b.entry.dropped, b.transitions) for b in batches] == [(reason, ())]
    assert made.counters["episodes_dropped"] == 1


def test_when_a_decision_stays_missing_expect_the_other_windows_after_the_grace() -> None:
    made = joiner()
    feed(made, [r for r in plain_episode(12) if not (isinstance(r, Decision) and r.stamp.request_id == 2)])
    assert made.collect(GRACE_S - 0.1) == []
    (batch,) = made.collect(GRACE_S)
    assert [t.episode_step for t in batch.transitions] == [8]


def test_when_the_world_did_not_wait_for_the_arm_expect_the_steps_that_were_executed_before_the_end() -> None:
    records = [r for r in plain_episode(8) if not isinstance(r, Event | StepReward)]
    records += [judgement(20), replace(end(20), time_ns=tick_ns(6))]
    made = joiner()
    feed(made, records)
    assert made.collect(GRACE_S - 0.1) == []
    # The next episode's first step: nothing more of this one can come.
    feed(made, plain_episode(2, episode=2)[:3])
    (batch,) = made.collect(0.1)
    assert [(t.episode_step, t.steps, t.mask) for t in batch.transitions] == [(0, 4, 1.0), (4, 2, 0.0)]
    assert batch.transitions[1].rewards.tolist() == [0.0, 1.0]


def test_when_the_world_waits_for_the_arm_expect_an_episode_that_lacks_its_last_steps_dropped() -> None:
    made = joiner(lockstep=True)
    feed(made, [r for r in plain_episode(8) if not (isinstance(r, StepRecord) and r.episode_step >= 6)])
    assert made.collect(GRACE_S - 0.1) == []
    assert [b.entry.dropped for b in made.collect(GRACE_S)] == ["missing steps"]


def test_when_the_reader_lags_behind_expect_the_grace_to_count_from_the_newest_record() -> None:
    made = joiner()
    records = plain_episode(8)
    feed(made, [r for r in records if not isinstance(r, StepRecord)])
    for index, record in enumerate(r for r in records if isinstance(r, StepRecord)):
        assert made.collect(0.9 * GRACE_S * (index + 1)) == []
        feed(made, [record], now_s=0.9 * GRACE_S * (index + 1))
    assert made.collect(0.9 * GRACE_S * 9)[0].entry.transitions == 2


def test_when_numbers_are_not_finite_expect_them_refused_and_counted() -> None:
    made = joiner()
    feed(made, [decision(1, 0, features=np.full(F, np.nan, np.float32)), judgement(1, float("nan"))])
    assert made.counters["not_finite"] == 2


def test_when_sizes_contradict_the_contract_expect_the_episode_dropped_not_an_exception() -> None:
    records = plain_episode(4)
    records[1] = replace(records[1], reference=np.zeros(3))
    assert joined(records).entry.dropped.startswith("inconsistent")


def test_when_the_contract_is_not_known_expect_to_wait_for_it() -> None:
    made = Joiner(Rules(C), grace_s=GRACE_S, max_steps=100)
    feed(made, plain_episode(4))
    assert made.collect(0.5) == []
    made.on_contract(CONTRACT)
    assert made.collect(0.6)[0].entry.transitions == 1


def test_when_records_of_a_closed_episode_or_an_old_epoch_come_expect_them_counted_as_late() -> None:
    made = joiner()
    feed(made, plain_episode(4, epoch=5))
    made.collect(0.0)
    feed(made, [*plain_episode(1, epoch=5)[:1], *plain_episode(4, epoch=4, episode=9)[:2]])
    assert made.counters["late"] == 3
    assert made.open_episodes == 0


def test_when_episodes_passed_unseen_expect_an_entry_for_each() -> None:
    made = joiner(recorded=[(1, 3)])
    feed(made, plain_episode(4, episode=6))
    batches = made.collect(0.0)
    assert [(b.entry.key, b.entry.dropped) for b in batches] == [((1, 4), "unseen"), ((1, 5), "unseen"), ((1, 6), "")]


def test_when_episodes_never_end_expect_bounded_memory() -> None:
    made = joiner()
    for episode in range(1, 20):
        feed(made, plain_episode(2, episode=episode)[:3])
        assert made.open_episodes <= 4
    reasons = [b.entry.dropped for b in made.collect(0.0)]
    assert reasons == ["too many open episodes"] * 15


def test_when_many_episodes_end_between_two_looks_at_them_expect_all_of_them_built() -> None:
    made = joiner()
    for episode in range(1, 20):
        feed(made, plain_episode(4, episode=episode))
    assert [len(b.transitions) for b in made.collect(0.0)] == [1] * 19


def test_when_an_episode_grows_without_end_expect_it_dropped() -> None:
    made = joiner(max_steps=10)
    feed(made, plain_episode(11)[:-2])
    (batch,) = made.collect(0.0)
    assert batch.entry.dropped == "longer than 10 steps"


def test_when_the_estop_is_pressed_expect_the_windows_from_there_on_to_say_so() -> None:
    made = joiner()
    records = plain_episode(10)
    feed(made, records[:8])
    made.on_estop()
    feed(made, records[8:])
    (batch,) = made.collect(0.0)
    assert [t.emergency_stop for t in batch.transitions] == [False, True, True]


def test_when_the_node_stops_expect_open_episodes_in_the_books() -> None:
    made = joiner()
    feed(made, plain_episode(10)[:6])
    (batch,) = made.give_up("stopped")
    assert (batch.entry.dropped, batch.entry.steps, batch.transitions) == ("stopped", 4, ())


# ---- starts of the arm -----------------------------------------------------------------------------------------------

OLD, ANOTHER = 1_000_000, 999_000  # nanoseconds of a clock, and of the same clock after it went back


def batches_of(made: Joiner, records: Iterable[Any], now_s: float) -> list[JoinedEpisode]:
    feed(made, records, now_s)
    return made.collect(now_s)


@pytest.mark.parametrize("then", [ANOTHER, OLD + 5], ids=["clock went back", "clock went on"])
def test_when_the_arm_starts_again_expect_its_episodes_whatever_its_number(then: int) -> None:
    made = joiner()
    assert len(batches_of(made, plain_episode(4, epoch=OLD, episode=3), 0.0)) == 1
    (batch,) = batches_of(made, plain_episode(4, epoch=then), 2.0)
    assert (batch.entry.key, batch.entry.dropped, len(batch.transitions)) == ((then, 1), "", 1)
    (batch,) = batches_of(made, plain_episode(4, epoch=then, episode=3), 2.0)[1:]
    assert batch.entry.key == (then, 3) and made.refused == 0


@pytest.mark.parametrize("then", [ANOTHER, OLD + 5], ids=["clock went back", "clock went on"])
def test_when_everything_starts_again_expect_new_episodes_and_the_stored_ones_refused(then: int) -> None:
    made = joiner(recorded=[(OLD, 1), (OLD, 2), (OLD - 7, 9)])
    (batch,) = batches_of(made, plain_episode(4, epoch=then), 0.0)
    assert batch.entry.key == (then, 1) and batch.transitions
    for epoch, episode in ((OLD, 1), (OLD, 2), (OLD - 7, 9)):
        assert batches_of(made, plain_episode(4, epoch=epoch, episode=episode), 9.0) == []
    assert made.counters["late"] and made.open_episodes == made.refused == 0


def test_when_an_arm_says_that_it_is_there_expect_it_followed_at_once_and_what_passes_unheard_booked() -> None:
    made = joiner()
    batches_of(made, plain_episode(4, epoch=OLD), 0.0)
    made.on_hello(ANOTHER, 2, 0.1)
    batches = batches_of(made, plain_episode(4, epoch=ANOTHER, episode=4), 0.2)
    assert [(b.entry.key, b.entry.dropped) for b in batches] == [((ANOTHER, 3), "unseen"), ((ANOTHER, 4), "")]
    made.on_hello(OLD, 1, 0.3)  # it was replaced
    assert batches_of(made, plain_episode(4, epoch=ANOTHER, episode=5), 0.4)[0].transitions


def test_when_a_whole_episode_is_refused_expect_it_booked_and_said_until_one_is_taken() -> None:
    made = joiner()
    batches_of(made, plain_episode(4, epoch=OLD), 0.0)
    (batch,) = batches_of(made, plain_episode(4, epoch=ANOTHER, episode=1), 0.1)
    assert (batch.entry.key, batch.entry.dropped, batch.transitions) == ((ANOTHER, 1), "of another arm", ())
    assert made.refused == 1 and "episode 1 was refused" in made.refusal
    assert batches_of(made, plain_episode(4, epoch=ANOTHER, episode=1), 0.2) == []
    batches_of(made, plain_episode(4, epoch=OLD, episode=2), 0.3)
    assert (made.refused, made.refusal) == (0, "")


def test_when_a_stranger_speaks_between_two_steps_expect_the_open_episode_whole() -> None:
    made = joiner()
    records = plain_episode(10, epoch=OLD)
    feed(made, records[:6], 0.0)
    feed(made, plain_episode(4, epoch=ANOTHER)[:3], 1.5)  # a slow policy: the arm was silent for a while
    feed(made, records[6:], 1.6)
    batches = [b for b in made.collect(1.6) if b.entry.epoch == OLD]
    assert [len(b.transitions) for b in batches] == [3]


def test_when_a_trial_was_asked_after_an_episode_expect_it_in_no_episode() -> None:
    records = plain_episode(10)
    (newest,) = [each for each in records if isinstance(each, Decision) and each.stamp.request_id == 3]
    trial = replace(newest, stamp=replace(newest.stamp, request_id=9), request_kind=RequestKind.TRIAL)
    with_trial, without = joined([*records, trial]), joined(records)
    assert len(with_trial.transitions) == len(without.transitions) and with_trial.entry == without.entry
