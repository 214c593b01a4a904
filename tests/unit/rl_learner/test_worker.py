# SPDX-License-Identifier: Apache-2.0
import time
from pathlib import Path

import pytest

from fakes.rl_runs import SPOOL, episode, recipe, session
from harness.until import until
from rl_learner.core.checkpoint import digest, latest, load
from rl_learner.core.worker import Worker, WorkerConfig
from rl_learner.core.worker_inbox import MOST_COMMANDS

DEADLINE_S = 20.0


class Line:
    """A worker, and what it tells."""

    def __init__(self, folder: Path, **rhythm):
        self.published, self.failures = [], []
        self.session = session(recipe(folder))
        self.folder = folder / "checkpoints"
        self.worker = Worker(
            self.session,
            self.folder,
            self.publish,
            self.failures.append,
            WorkerConfig(**({"publish_s": 0.0} | rhythm)),
            time.monotonic,
        )

    def publish(self, run, weights):
        self.published.append((run.learner.updates, digest(weights)))

    def put(self, numbers, *, first=1):
        for seq, made in enumerate([t for n in numbers for t in episode(n)], first):
            assert self.worker.put(lambda run, made=made, seq=seq: run.add(made, SPOOL, seq))

    def wait_updates(self, count):
        until(lambda: self.session.learner.updates == count and not self.session.due, DEADLINE_S, f"{count} updates")


@pytest.fixture
def make(tmp_path):
    made = []

    def build(**rhythm):
        made.append(Line(tmp_path, **rhythm))
        return made[-1]

    yield build
    for line in made:
        line.worker.stop(DEADLINE_S)


def test_when_transitions_are_handed_over_expect_updates_weights_and_a_checkpoint_at_the_end(make):
    line = make()
    line.put((1, 2, 3))
    line.worker.start()
    line.wait_updates(22)
    assert line.worker.stop(DEADLINE_S)
    assert [step for step, _ in line.published] == list(range(10, 23))
    saved = load(latest(line.folder)[0])
    assert (saved.step, saved.notes["receipts"]["through"], line.failures) == (22, 9, [])


@pytest.mark.parametrize(
    ("rhythm", "steps"), [({"publish_s": 1e6}, [10]), ({"publish_s": 1e6, "publish_updates": 6}, [10, 16, 22])]
)
def test_when_weights_are_wanted_seldom_expect_the_first_at_once_and_the_rest_by_count(make, rhythm, steps):
    line = make(**rhythm)
    line.put((1, 2, 3))
    line.worker.start()
    line.wait_updates(22)
    line.worker.stop(DEADLINE_S)
    assert [step for step, _ in line.published] == steps


def test_when_a_round_of_evaluation_begins_expect_the_newest_weights_and_no_others_until_it_is_over(make):
    line = make()
    line.put((1, 2))
    line.worker.start()
    line.wait_updates(10)
    until(lambda: line.published, DEADLINE_S, "the first weights")
    line.worker.begin_evaluation()
    until(lambda: line.worker.trials.is_evaluating, DEADLINE_S, "the round")
    trial, sent = digest(line.session.learner.policy_weights()), len(line.published)
    line.put((3,), first=7)
    line.wait_updates(22)
    assert line.published[-1][1] == trial and len(line.published) == sent
    line.worker.end_evaluation(0, 0)
    until(lambda: not line.worker.trials.is_evaluating, DEADLINE_S, "its end")
    assert line.session.guard.rounds == [], "a round that was broken off says nothing"
    until(lambda: line.published[-1][0] == 22, DEADLINE_S, "what was learnt meanwhile")


def test_when_a_round_says_that_weights_are_bad_expect_the_base_published_and_newer_weights_only_for_the_next(make):
    line = make()
    line.put((1, 2))
    line.worker.start()
    line.wait_updates(10)
    line.session.guard.base_successes = line.session.guard.base_episodes = 20
    line.worker.begin_evaluation()
    until(lambda: line.worker.trials.is_evaluating, DEADLINE_S, "the round")
    line.worker.end_evaluation(1, 8)
    until(lambda: line.session.guard.is_withdrawn and not line.worker.trials.is_evaluating, DEADLINE_S, "the verdict")
    until(lambda: line.published[-1][1] == digest({}), DEADLINE_S, "the base")
    line.put((3,), first=7)
    line.wait_updates(22)
    assert line.published[-1][1] == digest({})
    line.worker.begin_evaluation()
    until(lambda: line.published[-1][1] != digest({}), DEADLINE_S, "the newest")
    line.worker.end_evaluation(8, 8)
    until(lambda: not line.session.guard.is_withdrawn, DEADLINE_S, "them confirmed")


def test_when_nothing_but_a_round_came_since_the_last_checkpoint_expect_its_verdict_in_the_next(make):
    line = make(checkpoint_s=0.0)
    line.put((1, 2))
    line.worker.start()
    line.wait_updates(10)
    until(lambda: line.worker.checkpoints.saved_updates == 10, DEADLINE_S, "a checkpoint")
    line.worker.begin_evaluation()
    until(lambda: line.worker.trials.is_evaluating, DEADLINE_S, "the round")
    line.worker.end_evaluation(8, 8)
    until(lambda: not line.worker.trials.is_evaluating, DEADLINE_S, "its end")
    assert line.worker.stop(DEADLINE_S)
    (judged,) = load(latest(line.folder)[0]).notes["guard"]["rounds"]
    assert judged["episodes"] == 8


def test_when_counts_of_a_round_cannot_be_expect_a_refusal(make):
    with pytest.raises(ValueError, match="9 successes of 8 episodes"):
        make().worker.end_evaluation(9, 8)


def test_when_the_disk_refuses_expect_learning_to_go_on_and_the_reason(make):
    line = make(checkpoint_s=0.0)
    line.folder.write_text("a file where a folder should be", encoding="utf-8")
    line.put((1, 2))
    line.worker.start()
    line.wait_updates(10)
    until(lambda: line.worker.checkpoints.problem, DEADLINE_S, "the reason")
    assert "no checkpoint" in line.worker.checkpoints.problem
    line.folder.unlink()
    line.put((3,), first=7)
    until(lambda: not line.worker.checkpoints.problem, DEADLINE_S, "a checkpoint")
    assert line.failures == []


def test_when_a_letter_is_bad_expect_it_named_and_the_next_good_one_to_clear_it(make):
    line = make()
    line.worker.start()

    def bad(_run):
        raise ValueError("3 actors for 4 steps")

    line.worker.put(bad)
    until(lambda: line.worker.inboxes[""].problem == "3 actors for 4 steps", DEADLINE_S, "the problem")
    line.put((1,))
    until(lambda: line.worker.inboxes[""].problem == "" and line.session.receipts.through == 3, DEADLINE_S, "gone")


def test_when_something_is_missing_expect_it_to_be_known(make):
    line = make()
    line.worker.start()
    line.put((1,), first=5)
    until(lambda: line.worker.inboxes[""].gap, DEADLINE_S, "a gap")
    assert line.session.receipts.through == 0


def test_when_the_session_breaks_expect_the_failure_to_be_told_and_the_thread_to_end(make):
    line = make()

    def breaks(_run):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    line.worker.put(breaks)
    line.worker.start()
    until(lambda: line.failures, DEADLINE_S, "told")
    assert "illegal" in str(line.failures[0])


def test_when_too_much_is_handed_over_expect_the_rest_to_be_put_off(make):
    line = make()
    assert all(line.worker.put(lambda _run: None) for _ in range(MOST_COMMANDS))
    assert not line.worker.put(lambda _run: None)


def test_when_it_is_frozen_expect_nothing_taken_in_and_nothing_saved(make):
    line = make(freeze=True)
    line.worker.start()
    line.put((1,))
    until(lambda: len(line.worker.inboxes[""]) == 0, DEADLINE_S, "thrown away")
    line.worker.stop(DEADLINE_S)
    assert (line.session.receipts.through, line.folder.exists()) == (0, False)
