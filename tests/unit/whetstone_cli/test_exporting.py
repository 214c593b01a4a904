# SPDX-License-Identifier: Apache-2.0
"""Recordings that cannot be used are refused by name, or left out; nothing half is left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fakes.lerobot_files import HOME, JOINTS, gripper_first
from fakes.recordings import FRONT, METADATA, contract, recording
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.exporting import export_dataset


def cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def flipped(path: Path, share: float) -> Path:
    data = bytearray(path.read_bytes())
    at = int(len(data) * share)
    data[at : at + 40] = bytes(byte ^ 0xFF for byte in data[at : at + 40])
    path.write_bytes(bytes(data))
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def out_of_range(joint: int, value: float) -> np.ndarray:
    return np.where(np.arange(8) == joint, value, HOME)


def metadata_without(key: str) -> dict[str, str]:
    return {name: value for name, value in {**METADATA, "steps": "6"}.items() if name != key}


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty": (lambda path: written(path, b""), "it cannot be read"),
    "text": (lambda path: written(path, b"not a recording at all"), "it cannot be read"),
    "a pointer": (lambda path: written(path, b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "a folder": (lambda path: path.mkdir() or path, "Is a directory"),
    "cut in half": (lambda path: cut(recording(path), 0.5), "it ends too early"),
    "cut by a byte": (lambda path: cut(recording(path), 0.9999), "it cannot be read"),
    "a byte flipped": (lambda path: flipped(recording(path), 0.4), "it cannot be read"),
    "a word of the metadata changed": (
        lambda path: written(recording(path), path.read_bytes().replace(b"the red cube", b"the rod cube")),
        "it cannot be read",
    ),
    "no metadata": (lambda path: recording(path, metadata={}), "metadata of the episode: the key episode is missing"),
    "no outcome": (lambda path: recording(path, metadata=metadata_without("outcome")), "the key outcome is missing"),
    "no start": (lambda path: recording(path, metadata=metadata_without("start_ns")), "the key start_ns is missing"),
    "steps of words": (
        lambda path: recording(path, metadata={**METADATA, "steps": "many"}), "steps is 'many', expected a whole",
    ),
    "no words": (
        lambda path: recording(path, metadata={**METADATA, "steps": "6", "instruction": ""}), "instruction is ''",
    ),
    "another episode": (
        lambda path: recording(path, metadata={**METADATA, "steps": "6", "episode": "9"}), "no step of episode 9",
    ),
    "a step missing": (lambda path: recording(path, [0, 1, 2, 4, 5]), "step 3 of the episode is missing"),
    "no picture": (lambda path: recording(path, pictures={FRONT: []}), "no step with images"),
    "a blind camera": (
        lambda path: recording(path, range(20), pictures={FRONT: [0, 1]}),
        r"camera front, step 12: the newest picture is 0\.550 s old, allowed: 0\.5 s",
    ),
    "another order": (
        lambda path: recording(path, policy=contract(gripper_first(JOINTS))), "in another order than the robot's",
    ),
    "joints less": (lambda path: recording(path, joints=HOME[:6]), "6 joints recorded, 8 named"),
    "degrees": (
        lambda path: recording(path, joints=out_of_range(1, -22.9)), "frame 0: state of panda_joint2 is -22.9 rad",
    ),
    "an opening of 100": (lambda path: recording(path, joints=out_of_range(7, 100.0)), "panda_gripper is 100 of the"),
    "other words": (
        lambda path: recording(path, decided=[(3, METADATA["instruction"]), (3, "stop")]),
        "the policy followed 'stop', the episode says 'put",
    ),
    "not a number": (lambda path: recording(path, joints=out_of_range(1, float("nan"))), r"joint_command\[1\] is nan"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_when_a_recording_cannot_be_used_expect_its_name_and_why_and_nothing_left(tmp_path: Path, name: str) -> None:
    make, words = BROKEN[name]
    good, broken = recording(tmp_path / "a.mcap"), make(tmp_path / "b.mcap")
    with pytest.raises(UserError, match=rf"b\.mcap: .*{words}|b\.mcap has .*{words}") as caught:
        export_dataset([good, broken], tmp_path / "set", "sim_panda")
    assert "\n" not in str(caught.value).split("\n\n")[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mcap", "b.mcap"]
    done = export_dataset([broken, good, broken], tmp_path / "set", "sim_panda", skip_damaged=True)
    assert (done.episodes, done.frames, len(done.skipped)) == (1, 6, 2)
    assert "b.mcap" in done.skipped[0]


def aborted(path: Path) -> Path:
    return recording(path, metadata={**METADATA, "steps": "6", "outcome": "aborted", "reason": "not driven for 3.0 s"})


def test_when_an_episode_was_aborted_expect_it_left_out_unless_asked_for(tmp_path: Path) -> None:
    files = [recording(tmp_path / "a.mcap"), aborted(tmp_path / "b.mcap")]
    done = export_dataset(files, tmp_path / "set", "sim_panda")
    assert (done.episodes, done.aborted, done.skipped) == (1, 1, [])
    done = export_dataset(files, tmp_path / "all", "sim_panda", keep_aborted=True)
    assert (done.episodes, done.aborted) == (2, 0)
    rows = pq.read_table(tmp_path / "all" / "data").to_pydict()
    assert dict(zip(rows["episode_index"], rows["next.success"], strict=True)) == {0: True, 1: False}


def test_when_all_episodes_were_aborted_expect_that_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 episodes were aborted; --keep-aborted"):
        export_dataset([aborted(tmp_path / "b.mcap")], tmp_path / "set", "sim_panda")


def test_when_decisions_of_another_episode_are_in_the_file_expect_only_its_own_to_count(tmp_path: Path) -> None:
    file = recording(tmp_path / "a.mcap", decided=[(1, "other words"), (3, METADATA["instruction"])])
    assert export_dataset([file], tmp_path / "set", "sim_panda").episodes == 1


def test_when_none_can_be_used_expect_that_said_and_no_dataset(tmp_path: Path) -> None:
    broken = written(tmp_path / "b.mcap", b"")
    with pytest.raises(UserError, match="no recording can be used"):
        export_dataset([broken], tmp_path / "set", "sim_panda", skip_damaged=True)
    assert not (tmp_path / "set").exists()


def test_when_the_policy_has_another_rate_expect_it_in_the_dataset_and_no_mixture(tmp_path: Path) -> None:
    fast = recording(tmp_path / "fast.mcap", policy=contract(dt_s=0.1))
    export_dataset([fast], tmp_path / "ten", "sim_panda")
    assert json.loads((tmp_path / "ten/meta/info.json").read_text())["fps"] == 10
    with pytest.raises(UserError, match=r"slow\.mcap: 20 steps per second in a dataset of 10"):
        export_dataset([fast, recording(tmp_path / "slow.mcap")], tmp_path / "set", "sim_panda")


def test_when_the_first_steps_have_no_picture_expect_the_others(tmp_path: Path) -> None:
    late = recording(tmp_path / "late.mcap", pictures={FRONT: [2, 3, 4, 5]})
    export_dataset([late], tmp_path / "set", "sim_panda")
    assert pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet").num_rows == 4


def test_when_nothing_can_be_written_expect_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file"):
        export_dataset([recording(tmp_path / "a.mcap")], tmp_path / "file" / "set", "sim_panda")
