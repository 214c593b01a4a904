# SPDX-License-Identifier: Apache-2.0
"""A run without a base policy: demonstrations first, corrections into both replays, the same after a resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes.hil_serl import BLOCKS
from fakes.rl_episodes import CONTRACT, HASH, N
from fakes.rl_images import seen
from fakes.rl_runs import episode, feed, finish, recipe
from rl_learner.core.checkpoint import digest, load, save
from rl_learner.core.training_run import Phase, RuntimeLimits, TrainingRun
from whetstone_common.core.enums import Actor


def begun(folder: Path, *, demonstrations: int = 1, **schedule: Any) -> TrainingRun:
    method = recipe(folder, BLOCKS, **schedule)
    limits = RuntimeLimits(max_pending_updates=0)
    run = TrainingRun(method, method.shape_of(CONTRACT, N), capacity=100, contract_hash=HASH, limits=limits)
    for number in range(1, demonstrations + 1):
        for made in seen(number, cameras=1):
            run.add_prior(made)
    return run


def test_when_a_run_has_demonstrations_expect_it_to_learn_before_anything_is_played(tmp_path: Path) -> None:
    run = begun(tmp_path)
    assert not run.ready and run.due == 0
    run.begin_with_prior()
    assert run.phase is Phase.WARM_UP and run.due == 3 and not run.ready
    finish(run)
    assert run.phase is Phase.ONLINE and run.ready and run.learner.updates == 3
    assert bool(run.learner.acting.proprio_scaler.fitted)  # type: ignore[attr-defined]


def test_when_a_run_has_no_demonstrations_expect_refusal_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prior is empty, hil_serl learns from demonstrations.*whetstone prior"):
        begun(tmp_path, demonstrations=0).begin_with_prior()


def test_when_a_method_plays_base_episodes_first_expect_nothing_begun(tmp_path: Path) -> None:
    run = begun(tmp_path, base_episodes=2)
    run.begin_with_prior()
    assert run.phase is Phase.COLLECT


def test_when_a_human_drove_in_a_window_expect_it_in_both_replays_and_others_in_one(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.begin_with_prior()
    assert run.data.prior is not None
    before, transitions = len(run.data.prior), seen(2, cameras=1)
    corrected = [replace(transitions[0], actors=np.full(4, Actor.HUMAN, np.uint8)), *transitions[1:]]
    feed(run, corrected)
    assert len(run.data.online) == len(transitions) and len(run.data.prior) == before + 1


def test_when_transitions_have_no_images_expect_them_refused_counted_and_the_reason_kept(tmp_path: Path) -> None:
    run = begun(tmp_path)
    feed(run, episode(2))
    assert (run.tally.without_images, run.tally.refused) == (3, 3)
    assert len(run.data.online) == 0 and run.intake.mismatch.startswith("transitions hold no images")


def test_when_a_run_is_stopped_and_resumed_expect_the_same_weights(tmp_path: Path) -> None:
    runs = [begun(tmp_path), begun(tmp_path)]
    for run in runs:
        run.begin_with_prior()
        feed(run, seen(2, cameras=1))
    saved = load(save(tmp_path / "checkpoints", runs[1].snapshot()))
    runs[1] = begun(tmp_path, demonstrations=0)
    assert runs[1].restore(saved) == []
    for run in runs:
        feed(run, seen(3, cameras=1), first=4)
        finish(run)
    assert runs[0].learner.updates > 3
    assert digest(runs[0].learner.state()) == digest(runs[1].learner.state())
