# SPDX-License-Identifier: Apache-2.0
"""What the diagnosis with perfect sight shows to the small networks."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sim_rollout import Cell

RL = Path(__file__).resolve().parents[3] / "tools" / "rl"


@pytest.fixture
def truth() -> ModuleType:
    spec = importlib.util.spec_from_file_location("truth", RL / "truth.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_when_the_hand_moves_expect_the_object_to_move_away_and_the_goal_to_stay_where_it_is(truth: ModuleType) -> None:
    cell = Cell("pick_place")
    cell.reset(3)
    before, hand = truth.truth_features(cell), cell.world.tcp_pose()
    for _ in range(10):
        aim = cell.expert_aim()
        cell.drive(aim.pose, aim.opening)
    after, moved = truth.truth_features(cell), cell.world.tcp_pose().position - hand.position
    assert after.shape == (truth.DIM,) and after.dtype == np.float32
    assert float(np.linalg.norm(moved)) > 0.005
    assert after[:3] == pytest.approx(before[:3] - moved, abs=1e-3)
    assert after[3:6] == pytest.approx(before[3:6], abs=1e-3)


def test_when_the_object_is_a_quarter_turn_away_expect_the_same_turn(truth: ModuleType) -> None:
    cell = Cell("pick_place")
    cell.reset(3)
    seen, hand = cell.world.truth(), cell.world.tcp_pose()
    yaw = np.arctan2(hand.rotation[1, 0], hand.rotation[0, 0])
    features = truth.truth_features(cell)
    turned = truth.SYMMETRY * (seen.object_yaw_rad + np.pi / 2 - yaw)
    assert [features[6], features[8]] == pytest.approx([np.sin(turned), np.cos(turned)], abs=1e-5)


def test_when_prior_data_have_other_features_expect_the_trainer_to_refuse_them(tmp_path: Path) -> None:
    command = [sys.executable, str(RL / "train.py"), "--model", str(tmp_path), "--features", "truth"]
    done = subprocess.run([*command, "--prior", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--features truth has others" in done.stderr, done.stderr
