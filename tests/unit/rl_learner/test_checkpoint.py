# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch

from fakes.rl_files import FaultyFiles, Killed
from rl_learner.core.checkpoint import Snapshot, digest, latest, load, save
from rl_methods.common.checkpoint_error import CheckpointError


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
    found, wrong = latest(tmp_path)
    assert found == tmp_path / "step-000000001"
    assert len(wrong) == 1 and "step-000000002" in wrong[0]


def test_when_a_byte_was_changed_expect_a_refusal_and_the_one_before(tmp_path):
    save(tmp_path, snapshot(1))
    broken = save(tmp_path, snapshot(2))
    path = broken / "learner.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="SHA-256"):
        load(broken)
    found, wrong = latest(tmp_path)
    assert found == tmp_path / "step-000000001"
    assert len(wrong) == 1 and "step-000000002" in wrong[0]


def test_when_nothing_was_written_expect_nothing(tmp_path):
    assert latest(tmp_path) == (None, [])


def test_when_one_number_differs_expect_another_digest():
    first, second = snapshot(1).learner, snapshot(1).learner
    second["w"][0, 0] += 1e-6
    assert digest(first) != digest(second)


def test_when_the_same_step_is_written_again_expect_the_later_one_to_count(tmp_path):
    for number in range(3):
        save(tmp_path, replace(snapshot(7), notes={"number": number}))
    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "step-000000007",
        "step-000000007-0001",
        "step-000000007-0002",
    ]
    assert load(latest(tmp_path)[0]).notes == {"number": 2}


def test_when_none_is_whole_expect_a_refusal_that_names_each(tmp_path):
    for step in (1, 2):
        (save(tmp_path, snapshot(step)) / "manifest.json").unlink()
    (tmp_path / "step-000000003").mkdir()
    with pytest.raises(CheckpointError, match=r"none of 3 .*step-000000003.*step-000000001"):
        latest(tmp_path)


def test_when_the_process_dies_at_any_operation_expect_the_one_before_whole_and_the_next_to_work(tmp_path):
    counting = FaultyFiles()
    save(tmp_path / "count", snapshot(1), files=counting)
    assert counting.operations >= 9
    for at in range(1, counting.operations + 1):
        for share in (0.0, 0.5, 1.0):
            folder = tmp_path / f"{at}-{share}"
            save(folder, snapshot(1))
            with pytest.raises(Killed):
                save(folder, snapshot(2), files=FaultyFiles(at=at, kill=True, share=share))
            found, wrong = latest(folder)
            assert not wrong
            assert digest(load(found).learner) == digest(snapshot(load(found).step).learner)
            save(folder, snapshot(3))
            assert latest(folder)[0].name == "step-000000003"
            assert not list(folder.glob(".partial*"))
