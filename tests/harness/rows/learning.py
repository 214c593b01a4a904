# SPDX-License-Identifier: Apache-2.0
"""Rows of the learner: it dies, lags, diverges, comes back; nothing is lost, doubled or learnt twice."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace

import numpy as np

from fakes.rl_runs import episode
from harness.cells import arm_cell
from harness.course import Course, checkpoints
from harness.oracle import Verdict, judge_reason
from harness.rows.case import Case, always, check, now_ns, watch_for
from harness.until import NotReachedError, until
from harness.world import World

_EPISODES = 8
_KILLS = 2
_PATIENCE_S = 120.0


def stored(count: int, first: int = 1) -> list:
    """Transitions of some episodes."""
    return [made for number in range(first, first + count) for made in episode(number)]


def learner_is_killed(world: World, seed: int, mutation: str) -> Verdict:
    """Row 2: killed while it learns and publishes; started again, it becomes what it would have become."""
    rng = random.Random(seed)
    # enough that it is not done before it is killed
    course = Course(world, warm_up_updates=20, updates_per_step=30.0)
    course.store(stored(_EPISODES))
    course.start_node()
    learner = course.start_learner(mutation)
    for _ in range(_KILLS):
        heard = len(course.pieces)
        until(lambda heard=heard: len(course.pieces) > heard, _PATIENCE_S, "weights are published")
        watch_for(0.2 + rng.random())
        killed_ns = learner.kill9()
        learner = course.start_learner(mutation)
        world.watcher.wait_state("learner_node", ("READY", "HOLDING", "ERROR"), _PATIENCE_S, after_ns=killed_ns)
    return done(course) + course.judge(learner)


def arm_plays_on(world: World, seed: int, mutation: str) -> Verdict:  # noqa: ARG001
    """Row 2: for the arm, the death of a learner is nothing."""
    cell = arm_cell(world)
    course = Course(world, warm_up_updates=100_000)
    course.store(stored(2))
    course.start_node()
    learner = course.start_learner()
    wait_learning(course)
    cell.run()
    killed_ns = learner.kill9()
    watch_for(1.0)
    obeyed = cell.policy_commands_after(killed_ns)
    return check(len(obeyed) > 50, f"the arm obeyed {len(obeyed)} commands in 1 s without the learner") + always(cell)


def wait_learning(course: Course) -> None:
    """Until updates are done."""
    until(lambda: course.counter("updates") > 0, _PATIENCE_S, f"it learns; {course.status()}")


def done(course: Course) -> Verdict:
    """Everything that is stored was learnt from."""
    try:
        course.wait_done()
    except NotReachedError as error:
        return Verdict((str(error),))
    return Verdict()


def everything_is_killed(world: World, seed: int, mutation: str) -> Verdict:
    """Row 41: learner and transition_node die together, again and again."""
    rng = random.Random(seed)
    course = Course(world, warm_up_updates=300, updates_per_step=8.0)
    course.store(stored(_EPISODES))
    node, learner = course.start_node(), course.start_learner(mutation)
    for _ in range(_KILLS):
        wait_learning(course)
        watch_for(rng.random())
        killed_ns = max(learner.kill9(), node.kill9())
        node, learner = course.start_node(), course.start_learner(mutation)
        world.watcher.wait_state("learner_node", ("READY", "HOLDING", "ERROR"), _PATIENCE_S, after_ns=killed_ns)
    return done(course) + course.judge(learner)


def both_sides_restart(world: World, seed: int, mutation: str) -> Verdict:
    """Row 38: learner, actor, or both, while episodes are played."""
    rng = random.Random(seed)
    course = Course(world)
    node, learner = course.start_node(), course.start_learner(mutation)
    world.wait_ready("transition_node", "learner_node")
    course.wait_heard()
    for orders in ("l", "n", "ln", "nl"):
        course.play(course.next_episode())
        records = course.next_episode()
        cut = rng.randrange(len(records) + 1)
        course.play(records[:cut])
        killed_ns = now_ns()
        for who in orders:
            (learner if who == "l" else node).kill9()
        course.play(records[cut:])
        for who in orders:
            if who == "l":
                learner = course.start_learner(mutation)
            else:
                node = course.start_node()
                world.watcher.wait_state("transition_node", "READY", _PATIENCE_S, after_ns=killed_ns)
                course.wait_heard()
    stored_before = len(course.stored())
    for _ in range(10):
        course.play(course.next_episode())
        if len(course.stored()) > stored_before:
            break
        watch_for(1.0)
    watch_for(1.0)
    return done(course) + course.judge(learner)


def no_learner_for_long(world: World, seed: int, mutation: str) -> Verdict:  # noqa: ARG001
    """Row 36: the oldest are dropped at the bound; who comes late knows how many, and goes on with the rest."""
    bounds = {"max_spool_mb": 0.1, "segment_mb": 0.01, "when_full": "drop_oldest"}
    course = Course(world, node=bounds)
    course.start_node()
    world.wait_ready("transition_node")
    course.wait_heard()
    while course.episode < 50:
        course.play(course.next_episode(), pause_s=0.001)
    node = world.watcher
    until(lambda: (s := node.latest("transition_node")) and s.counters.get("transitions") == 150, 30.0, "all stored")
    learner = course.start_learner(mutation)
    last, kept = 150, len(course.stored())
    try:
        until(lambda: course.counter("through") == last, 30.0, f"through {last}: {course.status()}")
    except NotReachedError as error:
        return Verdict((str(error),))
    until(lambda: course.counter("windows") == kept, 20.0, f"{kept} windows: {course.status()}")
    learner.term()
    learner.wait_exit(15.0)
    lost = course.counter("transitions_lost")
    return check(lost == last - kept and lost > 0, f"{lost} lost, {kept} of {last} kept", lost=lost, kept=kept)


def learner_is_slow(world: World, seed: int, mutation: str) -> Verdict:  # noqa: ARG001
    """Row 37: at most what was paid for, at most the band behind; the rest waits in the spool."""
    band = 60
    course = Course(world, learner={"max_pending_updates": band}, updates_per_step=50.0, warm_up_updates=1)
    course.store(stored(2))
    course.start_node()
    world.wait_ready("transition_node")
    course.wait_heard()
    learner = course.start_learner(mutation)
    wait_learning(course)
    course.episode = 2
    for _ in range(10):
        course.play(course.next_episode())
    problems = Verdict()
    for _ in range(30):
        watch_for(0.1)
        status = course.status()
        steps, updates = status.counters["robot_steps"] - 24, status.counters["updates"] - 1
        owed = 50 * steps - updates
        # One window of four steps may be taken in at the edge of the band.
        problems += check(0 <= owed <= band + 4 * 50, f"{updates} updates for {steps} steps: {owed} owed", owed=owed)
    through = course.counter("through")
    problems += check(through < len(course.stored()), f"a slow learner has all {through} transitions at once")
    learner.kill9()
    return problems


def learner_diverges(world: World, seed: int, mutation: str) -> Verdict:  # noqa: ARG001
    """Row 35: rewards that no critic survives; the step is not taken, then it stops publishing and says so."""
    course = Course(world, warm_up_updates=20)
    # a window's sum of them is finite, its square is not
    poison = [replace(made, rewards=np.full_like(made.rewards, 3e37)) for made in stored(6, first=3)]
    course.store(stored(2) + poison)
    course.start_node()
    fault_ns = now_ns()
    learner = course.start_learner(mutation)
    try:
        world.watcher.wait_state("learner_node", "HOLDING", 40.0, after_ns=fault_ns, reason="NOT_FINITE")
    except AssertionError as error:
        return Verdict((str(error),)) + course.judge_weights()
    watch_for(0.5)
    count = len(course.pieces)
    watch_for(1.0)
    said = judge_reason(statuses_of(course), "learner_node", "NOT_FINITE", fault_ns, within_s=40.0, detail="diverged")
    verdict = said + course.judge_weights() + check(course.sets()[0], "no weights from before")
    learner.term()
    learner.wait_exit(15.0)
    return verdict + check(len(course.pieces) == count, "weights were published after the divergence")


def statuses_of(course: Course) -> list:
    """Everything said so far."""
    return list(course.world.watcher.statuses)


def checkpoint_is_broken(world: World, seed: int, mutation: str) -> Verdict:  # noqa: ARG001
    """Row 32: the newest is damaged, then all of them."""
    course = Course(world)
    course.store(stored(4))
    node = course.start_node()
    learner = course.start_learner()
    course.wait_done()
    learner.term()
    learner.wait_exit(15.0)
    node.kill9()
    *older, newest = checkpoints(course)
    for folder in older:
        shutil.rmtree(folder)
    whole = newest.parent / "step-000000001"
    newest.rename(whole)
    broken = newest.parent / "step-000000099"
    broken.mkdir()
    for file in whole.iterdir():
        data = bytearray(file.read_bytes())
        if file.name == "learner.safetensors":
            data[-1] ^= 1
        (broken / file.name).write_bytes(bytes(data))
    begun_ns = now_ns()
    learner = course.start_learner(mutation)
    status = world.watcher.wait_state("learner_node", ("READY", "ERROR"), 40.0, after_ns=begun_ns)
    skipped = status.counters.get("checkpoints_skipped", 0)
    verdict = check(status.state == "READY" and skipped == 1, f"{status.state} {status.detail}, {skipped} passed over")
    learner.kill9()
    (whole / "manifest.json").unlink()
    begun_ns = now_ns()
    count = len(course.pieces)
    course.start_learner(mutation)
    status = world.watcher.wait_state("learner_node", ("READY", "ERROR"), 40.0, after_ns=begun_ns)
    watch_for(0.5)
    return (
        verdict
        + check(status.state == "ERROR" and status.reason == "MODEL_FAILURE", f"{status.state} {status.detail}")
        + check(len(course.pieces) == count, "weights that nobody trained were published")
    )


CASES = (
    Case("2", "kill -9 learner while it learns", learner_is_killed, ("receipts_are_forgotten", "versions_begin_again")),
    Case("2", "kill -9 learner beside an arm that moves", arm_plays_on),
    Case("41", "kill -9 learner and transition_node", everything_is_killed, ("draws_begin_again",)),
    Case("38", "restarts in every order", both_sides_restart, ("everything_is_new",)),
    Case("36", "no learner for long", no_learner_for_long, ("lost_is_not_noticed",)),
    Case("37", "a slow learner", learner_is_slow, ("band_is_ignored",)),
    Case("35", "diverging updates", learner_diverges, ("gradients_are_believed",)),
    Case("32", "broken checkpoints", checkpoint_is_broken, ("checkpoints_are_believed",)),
)
