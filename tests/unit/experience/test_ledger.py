# SPDX-License-Identifier: Apache-2.0
"""The books of both sides: every transition arrives once, over any mixture of losses, doubles and deaths."""

from __future__ import annotations

import random

import pytest

from experience.core.delivery import Ack, AckResult, Delivery
from experience.core.ledger import EpisodeEntry, ReceivedSequence, ReceiveResult
from harness.oracle import judge_ledger

RUN, SPOOL = "night", 77


def delivery(**changes: object) -> Delivery:
    return Delivery(RUN, SPOOL, **({"in_flight": 4, "resend_s": 1.0} | changes))  # type: ignore[arg-type]


def ack(through: int, learner_epoch: int = 1, *, run: str = RUN, spool: int = SPOOL) -> Ack:
    return Ack(run, spool, learner_epoch, through)


def test_when_nobody_answers_expect_the_same_again_ever_more_rarely() -> None:
    sender = delivery()
    assert sender.next(1, 10, 0.0) == (0, 4)
    sender.published(4)
    assert sender.next(1, 10, 0.9) == (4, 0)
    assert sender.next(1, 10, 1.0) == (0, 4)
    sender.published(4)
    assert sender.next(1, 10, 2.9) == (4, 0)
    assert sender.next(1, 10, 3.0) == (0, 4)


def test_when_the_learner_answers_expect_the_window_to_move_on() -> None:
    sender = delivery()
    sender.on_ack(ack(0), 10, 0.0)
    sender.next(1, 10, 0.0)
    sender.published(4)
    assert sender.on_ack(ack(3), 10, 0.5) is AckResult.TAKEN
    assert sender.next(1, 10, 0.5) == (4, 3)
    assert sender.next(1, 5, 0.5) == (4, 1)


def test_when_an_ack_is_of_another_time_or_place_expect_it_ignored() -> None:
    sender = delivery()
    sender.published(4)
    sender.on_ack(ack(3, learner_epoch=5), 10, 0.0)
    assert sender.on_ack(ack(4, learner_epoch=4), 10, 0.0) is AckResult.LATE
    assert sender.on_ack(ack(2, learner_epoch=5), 10, 0.0) is AckResult.LATE
    assert sender.on_ack(ack(4, 6, spool=SPOOL + 1), 10, 0.0) is AckResult.FOREIGN
    assert sender.on_ack(ack(4, 6, run="day"), 10, 0.0) is AckResult.FOREIGN
    assert sender.on_ack(ack(11, 6), 10, 0.0) is AckResult.IMPOSSIBLE
    assert sender.acknowledged == 3


def test_when_a_new_learner_has_less_expect_to_begin_there_again() -> None:
    sender = delivery()
    sender.published(4)
    sender.on_ack(ack(4), 10, 0.0)
    # At first the one before has only just spoken.
    assert sender.on_ack(ack(1, learner_epoch=2), 10, 0.0) is AckResult.LATE
    assert sender.on_ack(ack(1, learner_epoch=2), 10, 6.0) is AckResult.TAKEN
    assert sender.next(1, 10, 6.0) == (1, 4)


@pytest.mark.parametrize("epoch", [1, 9], ids=["clock went back", "clock went on"])
def test_when_a_learner_is_replaced_expect_the_new_one_believed_whatever_its_number_and_the_old_one_never_again(
    epoch: int,
) -> None:
    sender = delivery()
    sender.published(4)
    sender.on_ack(ack(2, learner_epoch=5), 10, 0.0)
    assert sender.on_ack(ack(3, learner_epoch=epoch), 10, 6.0) is AckResult.TAKEN
    assert sender.on_ack(ack(4, learner_epoch=5), 10, 60.0) is AckResult.LATE
    assert sender.acknowledged == 3


def test_when_the_oldest_were_dropped_expect_to_go_on_behind_them() -> None:
    assert delivery().next(7, 20, 0.0) == (6, 4)


def test_when_transitions_arrive_expect_each_stored_once_and_gaps_refused() -> None:
    books = ReceivedSequence()
    assert [books.receive(SPOOL, seq) for seq in (1, 2, 2, 4, 3, 4)] == [
        ReceiveResult.NEW, ReceiveResult.NEW, ReceiveResult.DUPLICATE, ReceiveResult.GAP,
        ReceiveResult.NEW, ReceiveResult.NEW,
    ]  # fmt: skip
    assert (books.through, books.duplicates, books.gaps) == (4, 1, 1)
    assert books.receive(SPOOL + 1, 5) is ReceiveResult.DUPLICATE
    assert books.skip_to(9) == 4 and books.receive(SPOOL, 9) is ReceiveResult.NEW


@pytest.mark.parametrize("seed", range(30))
def test_when_messages_get_lost_and_both_sides_die_expect_exactly_once(seed: int) -> None:
    rng = random.Random(seed)
    last, now_s, epoch = 0, 0.0, 1
    sender, books, saved, stored = delivery(), ReceivedSequence(), (SPOOL, 0), []
    while books.through < 200:
        now_s += 0.3
        last = min(200, last + rng.randrange(4))
        if seed % 2 and rng.random() < 0.03:  # the sender dies and forgets what was acknowledged
            sender = delivery()
        if rng.random() < 0.03:  # the learner dies and goes on from its checkpoint
            books, epoch = ReceivedSequence(*saved), epoch + 1
            stored = stored[: saved[1]]
        after, count = sender.next(1, last, now_s)
        for seq in range(after + 1, after + count + 1):
            sender.published(seq)
            if rng.random() < 0.8 and books.receive(SPOOL, seq) is ReceiveResult.NEW:
                stored.append(seq)
        if rng.random() < 0.3:
            saved = (SPOOL, books.through)
        if rng.random() < 0.7:
            sender.on_ack(ack(books.through, epoch), last, now_s)
        if rng.random() < 0.2:
            sender.on_ack(ack(rng.randrange(last + 1), epoch - 1), last, now_s)
        assert now_s < 5000.0
    verdict = judge_ledger(range(1, 201), stored)
    assert verdict.ok, verdict.problems


def test_when_an_entry_is_written_expect_it_back_and_strangers_refused() -> None:
    entry = EpisodeEntry(3, 4, "failed", "stack", 17, 5, "", (("decisions without a step", 2),))
    assert EpisodeEntry.from_bytes(entry.to_bytes()) == entry
    for bad in (b"", b"[]", b"{}", b'{"epoch":1,"episode":2,"unused":[],"more":3}'):
        with pytest.raises(ValueError, match=r"entry|Expecting|unused|indices"):
            EpisodeEntry.from_bytes(bad)
