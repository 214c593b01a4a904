# SPDX-License-Identifier: Apache-2.0
"""What a run says of itself where nobody sees a picture that changes."""

from __future__ import annotations

import pytest

from fakes.train_episodes import episode
from whetstone_cli.cli.training_screen import TrainingScreen, progress_line
from whetstone_cli.core.training import Budget
from whetstone_common.core.run_session import UNBOUNDED_MIN
from whetstone_common.core.training_log import summarize


def test_when_the_output_is_no_terminal_expect_one_line_per_thing_that_happens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with TrainingScreen("mine", Budget(19.0)) as view:
        for step in range(3):
            view.note(f"episode 1 · acting · step {step}")
        view.show(summarize([episode(1)]))
        view.show(summarize([episode(1)]))
        lines = capsys.readouterr().out.splitlines()
    assert lines == ["episode 1", progress_line(summarize([episode(1)]), Budget(19.0))]


def test_when_steps_alone_bound_a_run_expect_no_bound_of_minutes() -> None:
    line = progress_line(summarize([episode(1)]), Budget(UNBOUNDED_MIN, 500))
    assert line.startswith("0.1 min of robot time, 100 of 500 steps, 1 episodes")
