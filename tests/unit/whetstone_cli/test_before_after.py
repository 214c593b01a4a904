# SPDX-License-Identifier: Apache-2.0
"""How a demonstration shares out its time, which scenes it counts, and which one it shows."""

import pytest

from fakes.evaluations import evaluation_of
from whetstone_cli.core.before_after import Timetable, same_scenes, scene_to_show


def test_when_something_is_learnt_expect_each_part_to_end_in_order_within_the_budget() -> None:
    times = Timetable(100.0, 1000.0, learns=True)
    ends = [times.task_until_s(count, 3) for count in (1, 2, 3)]
    ends += [times.training_until_s, times.scenes_until_s]
    assert ends == sorted(ends)
    assert ends[0] > 100.0 and ends[-1] < 1100.0
    assert ends[2] == pytest.approx(250.0)


def test_when_nothing_is_learnt_expect_the_tasks_to_have_all_the_time() -> None:
    times = Timetable(100.0, 420.0, learns=False)
    assert [times.task_until_s(count, 3) for count in (1, 3)] == pytest.approx([240.0, 520.0])


def test_when_one_side_got_further_expect_only_the_scenes_that_were_judged_in_both() -> None:
    base, after = same_scenes(evaluation_of("+-a-+"), evaluation_of("++++"))
    assert [row.seed for row in base.rows] == [row.seed for row in after.rows] == [0, 1, 3]
    assert (base.rate.successes, after.rate.successes) == (1, 3)


def test_when_a_scene_was_gained_expect_the_first_of_those() -> None:
    assert scene_to_show(evaluation_of("+---"), evaluation_of("+-++")) == 2


def test_when_no_scene_was_gained_expect_the_first_one_and_without_scenes_none() -> None:
    assert scene_to_show(evaluation_of("+-+"), evaluation_of("+--")) == 0
    assert scene_to_show(evaluation_of(""), evaluation_of("")) is None
