# SPDX-License-Identifier: Apache-2.0
"""A report before anything moves: each kind of directory, and each reason why one cannot be served."""

import json
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from harness.published import JOINTS, checkpoint, mapping_text
from vla_policy.core.backends import load_backend
from vla_policy.core.normalise import PolicyStats, Stats
from vla_policy.core.published.detect import ModelNotFoundError, is_published, local_directory
from vla_policy.core.published.report import inspect
from vla_policy.core.published.report_lines import RobotNames

ROBOT = RobotNames(JOINTS, ("front", "wrist"))


def problems(folder, robot=ROBOT):
    return {line.field: line.text for line in inspect(folder, robot).lines if not line.is_ok}


def test_when_a_checkpoint_fits_expect_everything_reported_and_no_problem(tmp_path):
    report = inspect(checkpoint(tmp_path / "m", "quantiles"), ROBOT)
    assert report.can_be_served and not report.template
    found = {line.field: line.text for line in report.lines}
    assert list(found) == [
        "format", "network", "tensors", "memory", "cameras", "state", "action", "mapping", "tokenizer", "features",
    ]  # fmt: skip
    assert "lerobot" in found["format"] and "8 dimensions, normalised by quantiles" in found["action"]
    assert "observation.images.spare" in found["cameras"] and "GiB as bfloat16" in found["memory"]


def test_when_nothing_is_mapped_expect_a_template_that_serves_once_it_is_saved(tmp_path):
    folder = checkpoint(tmp_path / "m")
    (folder / "whetstone.yaml").unlink()
    report = inspect(folder, ROBOT)
    assert not report.can_be_served and set(yaml.safe_load(report.template)["cameras"].values()) == {
        "front",
        "wrist",
        None,
    }
    (folder / "whetstone.yaml").write_text(report.template)
    assert inspect(folder, ROBOT).can_be_served
    assert load_backend("pi0", str(folder)).spec.cameras == ("front", "wrist")


def test_when_tensors_are_missing_or_left_over_expect_them_named(tmp_path):
    folder = checkpoint(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.action_out_proj.bias"]
    tensors["stranger"] = torch.zeros(2)
    save_file(tensors, folder / "model.safetensors")
    text = problems(folder)["tensors"]
    assert "missing tensor action_out_proj.bias" in text and "unexpected tensor stranger" in text


def test_when_a_camera_or_joint_is_not_the_robots_expect_it_named(tmp_path):
    folder = checkpoint(tmp_path / "m")
    assert "'wrist'" in problems(folder, RobotNames(JOINTS, ("front",)))["mapping"]
    assert "elbow" in problems(folder, RobotNames((*JOINTS[:-2], "elbow", JOINTS[-1]), ("front", "wrist")))["mapping"]


def test_when_the_tokenizer_is_not_there_expect_it_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = checkpoint(tmp_path / "m", mapping=mapping_text().replace("tokenizer: tokenizer\n", ""))
    assert "paligemma" in problems(folder)["tokenizer"]


def test_when_a_state_never_moved_in_the_data_expect_its_dimension_named(tmp_path):
    folder = checkpoint(tmp_path / "m")
    path = next(folder.glob("policy_preprocessor_step_*.safetensors"))
    stats = load_file(path)
    stats["observation.state.std"][3] = 0.0
    save_file(stats, path)
    assert any(
        line.field == "state" and "dimension 3 hardly moved" in line.text for line in inspect(folder, ROBOT).lines
    )


def test_when_a_directory_is_looked_at_expect_only_published_checkpoints_found(tmp_path):
    assert is_published(checkpoint(tmp_path / "m"))
    assert not is_published(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "pi0"}))
    assert is_published(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    assert not is_published(tmp_path), "a pocket model has its own loader"


@pytest.mark.parametrize("name", ["nowhere", "nobody/nothing-of-this-name", "a/b/c"])
def test_when_a_name_stands_for_nothing_expect_it_said(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFoundError, match=name):
        local_directory(name)


def test_when_a_directory_was_trained_here_expect_its_own_numbers_and_nothing_to_map(tmp_path):
    folder = checkpoint(tmp_path / "pi0")
    (folder / "whetstone.yaml").unlink()
    stats = PolicyStats(
        Stats((0.0,) * 8, (0.1,) * 8), Stats((0.0,) * 8, (1.0,) * 8), ("front", "wrist"), 0.05, "joint", ("go",)
    )
    stats.save(folder / "stats.json")
    report = inspect(folder, ROBOT)
    assert report.can_be_served and not report.template
    texts = {line.field: line.text for line in report.lines}
    assert texts["numbers"] == "stats.json: joint actions, 8 dimensions of state, 8 of action, 0.05 s a step"
    assert texts["cameras"] == "front, wrist" and "mean of embeddings" in texts["features"]
    replace(stats, cameras=("top",)).save(folder / "stats.json")
    (problem,) = [line for line in inspect(folder, ROBOT).lines if not line.is_ok]
    assert problem.text == "the robot has no 'top', it has ['front', 'wrist']"
    (folder / "stats.json").write_text("{}")
    assert not inspect(folder, ROBOT).can_be_served
