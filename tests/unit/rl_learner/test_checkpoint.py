# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from rl_learner.core.checkpoint import Snapshot, digest, latest, load, save
from vla_policy.core.files import CheckpointError


def snapshot(step):
    learner = {"w": torch.full((2, 2), float(step)), "half": torch.ones(3, dtype=torch.float16)}
    return Snapshot(step, learner, {"online": {"x": torch.arange(4)}}, {"method": "expo"})


def test_when_written_and_read_expect_the_same_bits(tmp_path):
    folder = save(tmp_path, snapshot(5))
    back = load(folder)
    assert back.step == 5
    assert back.notes == {"method": "expo"}
    assert digest(back.learner) == digest(snapshot(5).learner)
    assert digest(back.replays["online"]) == digest(snapshot(5).replays["online"])


def test_when_many_are_written_expect_the_newest_three_to_stay(tmp_path):
    for step in (1, 2, 10, 20):
        save(tmp_path, snapshot(step))
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["step-000000002", "step-000000010", "step-000000020"]


def test_when_the_newest_was_not_finished_expect_the_one_before(tmp_path):
    save(tmp_path, snapshot(1))
    broken = save(tmp_path, snapshot(2))
    (broken / "manifest.json").unlink()
    assert latest(tmp_path) == tmp_path / "step-000000001"


def test_when_a_byte_was_changed_expect_a_refusal_and_the_one_before(tmp_path):
    save(tmp_path, snapshot(1))
    broken = save(tmp_path, snapshot(2))
    path = broken / "learner.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="SHA-256"):
        load(broken)
    assert latest(tmp_path) == tmp_path / "step-000000001"


def test_when_nothing_was_written_expect_nothing(tmp_path):
    assert latest(tmp_path) is None


def test_when_one_number_differs_expect_another_digest():
    first, second = snapshot(1).learner, snapshot(1).learner
    second["w"][0, 0] += 1e-6
    assert digest(first) != digest(second)
