# SPDX-License-Identifier: Apache-2.0
"""A PI0 directory that LeRobot wrote learns in joint space, by the shipped method, through the whole graph."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.published import checkpoint, mapping_text
from rl_learner.core import checkpoint as learner_checkpoint
from rl_methods.registry import DEFAULT_ONLINE, settings_file

pytestmark = [pytest.mark.timeout(600), pytest.mark.cores(2)]

# A task of a user's own asks for no action space.
_TASK = """
/**/sim_node:
  ros__parameters:
    scene: |
      phrase: lift the {object} block to the {goal} mark
      bodies:
        - {name: block_a, mass_kg: 0.05, spacing_m: 0.06, parts: [{box_half_m: [0.018, 0.018, 0.03]}]}
        - {name: block_b, mass_kg: 0.05, spacing_m: 0.06, parts: [{box_half_m: [0.018, 0.018, 0.03]}]}
        - {name: mark_a, spacing_m: 0.06, parts: [{disc_radius_m: 0.04, disc_half_height_m: 0.002}]}
        - {name: mark_b, spacing_m: 0.06, parts: [{disc_radius_m: 0.04, disc_half_height_m: 0.002}]}
      objects: [block_a, block_b]
      goals: [mark_a, mark_b]
      goal_offset_z_m: 0.032
      grasp_offset_z_m: 0.005
      clearance_m: 0.09
      success: {error_xy_m: 0.03, error_z_m: 0.01, tilt_rad: 0.2, speed_m_s: 0.03, let_go: true}
/**/episode_node:
  ros__parameters: {task: lift, max_steps: 40, instruction: lift the red block to the blue mark}
"""


@pytest.mark.usefixtures("keep_environment")
def test_when_a_directory_of_lerobot_is_trained_as_shipped_expect_learnt_chunks_in_joint_space_to_be_played(
    tmp_path: Path,
) -> None:
    # Random weights: their joints are made to move a little, not by whole turns.
    head, action = mapping_text("relative").split("action:\n")
    mapping = f"{head}action:\n{action.replace('unit: deg', 'unit: deg, scale: 0.02')}"
    model = checkpoint(tmp_path / "pi0", "relative", mapping)
    (tmp_path / "lift.yaml").write_text(_TASK, encoding="utf-8")
    method = yaml.safe_load(settings_file(DEFAULT_ONLINE).read_text(encoding="utf-8"))
    method["schedule"] = {"base_episodes": 2, "warm_up_updates": 5, "updates_per_step": 0.1, "batch": 8}
    method["critic"] = {"members": 2, "hidden": [32]}
    (tmp_path / "method.yaml").write_text(yaml.safe_dump(method), encoding="utf-8")
    words = ["train", "--run", "mine", "--runs", str(tmp_path / "runs"), "--task", str(tmp_path / "lift.yaml")]
    words += ["--model-dir", str(model), "--method-file", str(tmp_path / "method.yaml"), "--operator", "none"]
    words += ["--max-steps", "200", "--evaluate-every-min", "0.1", "--evaluate-episodes", "1"]
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "whetstone_cli.cli.main", *words], capture_output=True, text=True, timeout=500.0,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    folder = tmp_path / "runs" / "mine"
    rows = [json.loads(line) for line in (folder / "episodes.jsonl").read_text(encoding="utf-8").splitlines()]
    assert any(row["policy_version"] > 0 for row in rows), "learnt weights were never played"
    assert any(row["evaluation"] for row in rows)
    notes = learner_checkpoint.load(learner_checkpoint.latest(folder / "checkpoints")[0]).notes
    assert notes["shape"]["action_space"] == "joint" and notes["shape"]["action_dim"] == 8
    assert notes["config"][DEFAULT_ONLINE]["edit_scale"] == [0.3, 2.0]
    assert notes["config"][DEFAULT_ONLINE]["state_features"] == notes["shape"]["state_features"] > 0
