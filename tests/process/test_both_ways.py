# SPDX-License-Identifier: Apache-2.0
"""The same scenes through the graph and in process: the same proposals, actions, windows and outcomes."""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from experience.core.episode import Rules
from experience.core.prior import transitions_in
from experience.core.transition import Transition
from rl_learner.core.rollout.episode import transitions_of
from vla_policy.core.backends import load_backend
from vla_policy.core.serving import contract_of
from whetstone_cli.cli import train as run
from whetstone_cli.cli.run_settings import RunSettings, TrainOptions
from whetstone_cli.core.training import Budget

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tools" / "rl")]

from cell_scene import JOINTS, rollout_of  # noqa: E402

pytestmark = [pytest.mark.timeout(600), pytest.mark.cores(2)]

MODEL = ROOT / "ros2_ws" / "src" / "vla_policy" / "models" / "pocket"
EPISODES = 20
_MINUTES = EPISODES * 4.0 / 60.0  # of robot time: an episode of the pocket VLA takes 3 to 8 s
_ALIKE_WINDOWS = 3  # messages carry float32: contact makes the difference of the last bit grow after that
_SAME = 1e-4


def differences(one: Transition, other: Transition) -> dict[str, float]:
    """Largest difference of each array."""
    names = ("features", "noise", "candidates", "actions", "chosen_chunk")
    return {name: float(np.abs(getattr(one, name) - getattr(other, name)).max()) for name in names}


@pytest.mark.usefixtures("keep_environment")
def test_when_scenes_are_played_in_the_graph_and_in_process_expect_the_same_windows_and_outcomes(
    tmp_path: Path,
) -> None:
    settings = RunSettings("pick_place", "expo", 0, operator="none", method_file=str(base_only(tmp_path)))
    run.run(TrainOptions("both", tmp_path, settings, Budget(_MINUTES)))
    rows = [json.loads(line) for line in (tmp_path / "both" / "episodes.jsonl").read_text().splitlines()]
    graph = {n: list(windows) for n, windows in groupby(transitions_in(tmp_path / "both"), key=lambda t: t.episode)}
    assert len(rows) >= EPISODES // 2 and len(graph) == len(rows)

    torch.set_num_threads(1)
    backend = load_backend("onnx", str(MODEL), num_threads=1)
    rollout = rollout_of("pick_place", backend, 8, 8)
    contract = contract_of(backend.spec, JOINTS, "")
    rules = Rules(window_steps=8, lockstep=True)
    outcomes = []
    for row in rows:
        episode = rollout.play(row["seed"])
        outcomes.append(bool(episode.success) == row["success"])
        windows = transitions_of(episode, row["episode"], contract, rules, backend.spec.dt_s)
        for one, other in list(zip(windows, graph[row["episode"]], strict=False))[:_ALIKE_WINDOWS]:
            assert (one.episode_step, one.rewards.tolist()) == (other.episode_step, other.rewards.tolist())
            assert max(differences(one, other).values()) < _SAME, (row["seed"], differences(one, other))
    assert sum(outcomes) >= len(rows) - 1, "at most one scene hangs on the last bit of a number"


def base_only(folder: Path) -> Path:
    """Settings with which the base plays from beginning to end."""
    path = folder / "expo.yaml"
    path.write_text("expo: {}\nschedule: {base_episodes: 1000}\n", encoding="utf-8")
    return path
