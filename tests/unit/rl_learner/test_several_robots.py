# SPDX-License-Identifier: Apache-2.0
"""A run that two robots feed: their episodes have the same numbers, and come mixed."""

import time
from collections import deque
from dataclasses import replace
from itertools import chain, zip_longest

import numpy as np
import pytest

from experience.core.ledger import ReceiveResult
from fakes.rl_board import curve
from fakes.rl_runs import SPOOL, episode, finish, recipe, session
from harness.until import until
from rl_learner.core.checkpoint import digest, load, save
from rl_learner.core.receipts import Receipts
from rl_learner.core.tensorboard import TensorBoardLogger
from rl_learner.core.training_run import Phase
from rl_learner.core.worker import Worker, WorkerConfig
from rl_learner.core.worker_inbox import Inbox, drain
from rl_methods.common.checkpoint_error import CheckpointError
from whetstone_common.core.enums import Actor

LEFT, RIGHT = "left", "right"
SPOOLS = {LEFT: 77, RIGHT: 88}
DEADLINE_S = 20.0


def sent(robot, *numbers):
    """Transitions of a robot's episodes, with the sequence numbers of its spool."""
    shift = 0 if robot == LEFT else 50
    made = [replace(t, episode=n) for n in numbers for t in episode(n + shift)]
    return [(robot, seq, each) for seq, each in enumerate(made, 1 + 3 * (numbers[0] - 1))]


def mixed(*streams):
    """One of each in turn."""
    return [each for each in chain(*zip_longest(*streams)) if each is not None]


def feed(run, letters, *, learn=True):
    """Takes what is new in, each when there is room."""
    for robot, seq, made in letters:
        while learn and not run.has_room:
            run.learn()
        run.add(made, SPOOLS[robot], seq, robot)


@pytest.fixture
def run(tmp_path):
    return session(recipe(tmp_path), robots=(LEFT, RIGHT))


def test_when_two_robots_send_mixed_expect_each_transition_once_and_each_episode_counted(run):
    letters = mixed(sent(LEFT, 1, 2, 3), sent(RIGHT, 1, 2))
    feed(run, letters)
    feed(run, letters)
    assert [run.receipts.of(robot).through for robot in (LEFT, RIGHT)] == [9, 6]
    assert (run.receipts.through, run.receipts.duplicates) == (15, 15)
    assert (run.tally.windows, run.tally.steps, run.tally.episodes, run.tally.finished) == (15, 60, 5, 5)
    assert sorted(run.tally.successes) == [0, 0, 1, 1, 1]
    kept = {tuple(row.tolist()) for row in run.data.online.column("features")}
    assert len(kept) == 15
    assert run.add(letters[0][2], SPOOLS[RIGHT], 9, RIGHT) is ReceiveResult.GAP
    assert (run.receipts.of(LEFT).gaps, run.receipts.of(RIGHT).gaps) == (0, 1)


@pytest.mark.parametrize("stop", [0, 1, 4, 8, 13])
def test_when_it_is_stopped_between_their_transitions_and_resumed_expect_the_same_bits(tmp_path, stop):
    letters = mixed(sent(LEFT, 1, 2, 3), sent(RIGHT, 1, 2, 3))
    made = [session(recipe(tmp_path), robots=(LEFT, RIGHT)) for _ in range(3)]
    unbroken, broken, resumed = made
    feed(unbroken, letters)
    finish(unbroken)
    feed(broken, letters[:stop])
    resumed.restore(load(save(tmp_path / "c", broken.snapshot())))
    feed(resumed, letters)  # all of it again: what is in the checkpoint is known
    finish(resumed)
    ends = [each.snapshot() for each in (unbroken, resumed)]
    assert digest(ends[0].learner) == digest(ends[1].learner)
    assert digest(ends[0].replays["online"]) == digest(ends[1].replays["online"])
    assert ends[0].notes == ends[1].notes
    assert ends[0].notes["robots"] == {n: {"spool": str(s), "through": 9} for n, s in SPOOLS.items()}
    assert "receipts" not in ends[0].notes, "an earlier release would begin with nothing received"


def sole_run(tmp_path, count):
    made = session(recipe(tmp_path))
    for seq, each in enumerate([t for n in (1, 2, 3) for t in episode(n)][:count], 1):
        while not made.has_room:
            made.learn()
        made.add(each, SPOOL, seq)
    return made


def test_when_one_robot_without_a_name_feeds_it_expect_the_notes_of_earlier_releases(tmp_path):
    notes = sole_run(tmp_path, 7).snapshot().notes
    assert notes["receipts"] == {"spool": "77", "through": 7} and "robots" not in notes
    assert notes["tally"] == {
        "windows": 7, "refused": 0, "without_images": 0, "lost": 0, "steps": 28, "human_steps": 0, "episodes": 3,
        "successes": [1, 0, 1], "steered": [0] * 7, "epoch": 1, "episode": 3, "covered": 4, "length": 12,
        "episode_human_steps": 0, "episode_chunks": 1, "episode_steered": 0,
    }  # fmt: skip
    assert set(session(recipe(tmp_path)).snapshot().notes["tally"]) == set(notes["tally"])


def test_when_robots_get_names_later_expect_the_one_of_before_known_by_its_spool(tmp_path, run):
    saved = sole_run(tmp_path, 7).snapshot()
    run.restore(saved)
    assert (run.tally.finished, run.receipts.through) == (2, 0)
    feed(run, mixed(sent(LEFT, 1, 2, 3), sent(RIGHT, 1)))
    assert (run.receipts.of(LEFT).through, run.receipts.of(RIGHT).through) == (9, 3)
    assert (run.tally.windows, run.tally.episodes, run.tally.finished) == (12, 4, 4)
    assert run.tally.arriving[LEFT].success == 1
    # and back again, without the other one
    sole = session(recipe(tmp_path))
    sole.restore(run.snapshot())
    assert sole.add(episode(3)[2], SPOOL, 9) is ReceiveResult.DUPLICATE
    assert set(sole.snapshot().notes["robots"]) == {RIGHT}


def test_when_a_robot_leaves_and_comes_back_expect_nothing_twice(tmp_path, run):
    feed(run, mixed(sent(LEFT, 1), sent(RIGHT, 1)))
    alone = session(recipe(tmp_path), robots=(LEFT,))
    alone.restore(run.snapshot())
    feed(alone, sent(LEFT, 2))
    both = session(recipe(tmp_path), robots=(LEFT, RIGHT))
    both.restore(alone.snapshot())
    feed(both, sent(RIGHT, 1, 2))
    assert (both.tally.windows, both.receipts.of(RIGHT).through) == (12, 6)


def test_when_a_checkpoint_names_no_receipts_expect_refusal(run, tmp_path):
    saved = run.snapshot()
    notes = {name: value for name, value in saved.notes.items() if name != "robots"}
    with pytest.raises(CheckpointError, match="receipts"):
        session(recipe(tmp_path)).restore(replace(saved, notes=notes))


def test_when_a_robot_has_another_spool_or_the_one_of_another_expect_refusal_that_names_it():
    receipts = Receipts((LEFT, RIGHT))
    receipts.bind(LEFT, 77)
    with pytest.raises(ValueError, match="spool 78, this run's is 77"):
        receipts.bind(LEFT, 78)
    with pytest.raises(ValueError, match="spool 77 is the one of left"):
        receipts.bind(RIGHT, 77)
    assert receipts.bind(LEFT, 77) is None


def test_when_one_robot_is_refused_expect_its_name_and_the_other_taken_in(run, tmp_path):
    worker = Worker(run, tmp_path / "c", lambda *_: None, pytest.fail, WorkerConfig(), time.monotonic)
    try:
        for robot, seq, made in mixed(sent(LEFT, 1), sent(RIGHT, 1)):
            spool = SPOOLS[robot] + (seq if robot == RIGHT else 0)  # exchanged each time
            worker.put(lambda r, m=made, s=spool, q=seq, n=robot: r.add(m, s, q, n), robot)
        worker.start()
        until(lambda: run.receipts.of(LEFT).through == 3 and worker.inboxes[RIGHT].problem, DEADLINE_S, "both")
        assert "this run's is 89" in worker.inboxes[RIGHT].problem
        assert worker.inboxes[LEFT].problem == ""
    finally:
        worker.stop(DEADLINE_S)


def test_when_one_robot_floods_expect_the_other_in_turn(run, tmp_path):
    worker = Worker(run, tmp_path / "c", lambda *_: None, pytest.fail, WorkerConfig(), time.monotonic)
    order = []
    for robot, count in ((LEFT, 500), (RIGHT, 3)):
        for _ in range(count):
            assert worker.put(lambda _run, robot=robot: order.append(robot), robot)
    try:
        worker.start()
        until(lambda: len(order) == 503, DEADLINE_S, "all")
        assert order[:6] == [LEFT, RIGHT] * 3
    finally:
        worker.stop(DEADLINE_S)


def test_when_there_is_room_for_one_at_a_time_expect_both_in_turn(run):
    feed(run, mixed(sent(LEFT, 1), sent(RIGHT, 1)))
    finish(run)
    inboxes = {robot: Inbox() for robot in (LEFT, RIGHT)}
    for robot in inboxes:
        for name, seq, made in sent(robot, 2, 3):
            inboxes[robot].put(lambda r, m=made, q=seq, n=name: r.add(m, SPOOLS[n], q, n))
    turns = deque(inboxes.values())
    while drain(turns, run, lambda: None):
        left, right = (run.receipts.of(robot).through for robot in (LEFT, RIGHT))
        assert abs(left - right) <= 1
        finish(run)
    assert run.receipts.through == 18


def test_when_a_robot_dies_within_an_episode_expect_the_other_to_learn(run):
    feed(run, sent(RIGHT, 1)[:2])
    feed(run, sent(LEFT, 1, 2))
    assert (run.phase, run.tally.episodes, run.tally.finished) == (Phase.WARM_UP, 3, 2)
    finish(run)
    feed(run, sent(RIGHT, 1))  # it comes back: what was left of its episode is learnt from
    finish(run)
    assert (run.tally.finished, run.learner.updates) == (3, 10 + 4)


def test_when_a_person_helps_one_robot_expect_the_episode_of_the_other_counted_as_alone(run):
    helped = [(n, s, replace(t, actors=np.full_like(t.actors, Actor.HUMAN))) for n, s, t in sent(LEFT, 1)]
    feed(run, mixed(helped, sent(RIGHT, 1)), learn=False)
    assert run.tally.successes == (1, 1)
    assert (run.guard.base_episodes, run.guard.base_successes) == (2, 1)


def test_when_episodes_come_mixed_expect_each_once_in_tensorboard_also_after_a_resume(run, tmp_path):
    board = TensorBoardLogger(tmp_path / "t", run, pytest.fail)
    letters = mixed(sent(LEFT, 1, 2), sent(RIGHT, 1, 2)[1:])
    run.add(sent(RIGHT, 1)[0][2], SPOOLS[RIGHT], 1, RIGHT)
    for letter in letters[:8]:
        feed(run, [letter])
        board.on_transition(run)
    saved, written = run.snapshot(), run.tally.finished
    board.close()
    assert written == 2 and curve(tmp_path / "t" / "episodes", "episode/success") == {1: 1.0, 2: 1.0}
    again = session(recipe(tmp_path), robots=(LEFT, RIGHT))
    again.restore(saved)
    board = TensorBoardLogger(tmp_path / "t", again, pytest.fail)
    for letter in letters:
        feed(again, [letter])
        board.on_transition(again)
    board.close()
    assert curve(tmp_path / "t" / "episodes", "episode/success") == {1: 1.0, 2: 1.0, 3: 0.0, 4: 0.0}
