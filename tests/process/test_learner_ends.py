# SPDX-License-Identifier: Apache-2.0
"""learner_node is asked to end while it updates: it is gone in time, and nothing of the run is lost."""

from __future__ import annotations

import signal

import pytest

from harness.course import Course
from harness.rows.learning import done, stored, wait_learning
from harness.world import World

_ENDS_S = 2.0


@pytest.mark.cores(2)
def test_when_a_learner_is_asked_to_end_while_it_updates_expect_it_gone_and_the_run_to_go_on_bit_for_bit(
    world: World,
) -> None:
    course = Course(world, warm_up_updates=300, updates_per_step=5.0)
    course.store(stored(8))
    course.start_node()
    learner = course.start_learner()
    owed = course.expected().learner.updates
    wait_learning(course)
    learner.send(signal.SIGTERM)
    assert learner.wait_exit(_ENDS_S) == 0
    assert course.counter("updates") < owed and "Traceback" not in learner.tail()
    learner = course.start_learner()
    verdict = done(course) + course.judge(learner)
    assert verdict.ok, verdict.problems
