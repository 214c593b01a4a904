# SPDX-License-Identifier: Apache-2.0
"""What another run has left is known from the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.rl_runs import episode, store
from rl_learner.core.prior import transitions_in


def test_when_a_folder_holds_transitions_expect_all_of_them_in_order(tmp_path: Path) -> None:
    made = [*episode(1), *episode(2)]
    store(tmp_path, made)
    found = list(transitions_in(tmp_path))
    assert [(t.episode, t.episode_step) for t in found] == [(t.episode, t.episode_step) for t in made]


def test_when_there_are_none_expect_the_folder_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no transitions there"):
        list(transitions_in(tmp_path / "nowhere"))
