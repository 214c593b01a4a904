# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fakes.toy_vla import WORDS, toy_demo
from vla_policy.core.training.dataset import (
    ChunkDataset,
    Demo,
    cartesian_chunks,
    detection_targets,
    joint_chunks,
    load_demos,
    window_index,
)
from whetstone_common.core.cartesian import cartesian_proprio
from whetstone_common.core.kinematics import Pose


def test_when_a_window_runs_past_the_end_expect_the_last_command_repeated():
    assert window_index(3, 4).tolist() == [[0, 1, 2, 2], [1, 2, 2, 2], [2, 2, 2, 2]]


def test_when_a_chunk_is_applied_to_its_reference_expect_the_commands_back():
    demo, rng = toy_demo(0), np.random.default_rng(0)
    count = len(demo)
    measured, commanded = (Rotation.random(count, rng=rng).as_matrix() for _ in range(2))
    proprio = np.stack([cartesian_proprio(Pose(p[:3], r), p[9]) for p, r in zip(demo.proprio, measured, strict=True)])
    turned = replace(demo, proprio=proprio, command_rotation=commanded.astype(np.float32))
    chunks = cartesian_chunks(turned, 4)
    for tick in (0, 7, count - 1):
        for step in range(4):
            at = min(tick + step, count - 1)
            position = proprio[tick, :3] + chunks[tick, step, :3]
            rotation = Rotation.from_rotvec(chunks[tick, step, 3:6]).as_matrix() @ measured[tick]
            assert np.allclose(position, demo.command_position[at], atol=1e-5)
            assert np.allclose(rotation, commanded[at], atol=1e-4)
            assert chunks[tick, step, 6] == demo.command_opening[at]


def test_when_the_space_is_joint_expect_targets_minus_measured_and_the_gripper_absolute():
    chunks = joint_chunks(toy_demo(0), 16)
    assert chunks.shape == (20, 16, 8)
    assert np.allclose(chunks[..., :7], 0.1)
    assert chunks[0, 0, 7] == 1.0
    data = ChunkDataset([toy_demo(0)], action_space="joint")
    assert (data.stats.action.dim, data.stats.proprio.dim) == (8, 8)


def test_when_a_square_thing_turns_by_a_quarter_expect_the_same_target():
    demo = toy_demo(0)
    turned = replace(demo, object_yaw=demo.object_yaw + np.float32(np.pi / 2))
    assert np.allclose(detection_targets(demo), detection_targets(turned), atol=1e-5)


def test_when_ticks_are_unusable_expect_no_window_to_start_there():
    demo = toy_demo(0)
    usable = np.zeros(20, dtype=bool)
    usable[4] = True
    data = ChunkDataset([replace(demo, usable=usable)])
    assert len(data) == 1
    batch = data.batch(np.random.default_rng(0), 5)
    assert np.allclose(batch.proprio, data.stats.proprio.normalise(demo.proprio[4]))


def test_when_saved_and_loaded_expect_the_same_demonstration(tmp_path):
    (tmp_path / "toy").mkdir()
    toy_demo(3, WORDS[1]).save(tmp_path / "toy" / "00000.npz")
    (loaded,) = load_demos(tmp_path)
    assert loaded.instruction == WORDS[1]
    for name in ("front", "proprio", "command_rotation", "usable"):
        assert np.array_equal(getattr(loaded, name), getattr(toy_demo(3), name))


def test_when_a_file_holds_objects_expect_it_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", front=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        Demo.load(tmp_path / "bad.npz")


def test_when_an_array_is_missing_or_short_or_the_file_cut_expect_the_file_named(tmp_path):
    path = tmp_path / "a.npz"
    for change, words in (
        (lambda a: a.pop("proprio"), "the array proprio is missing"),
        (lambda a: a.update(usable=a["usable"][:-1]), "usable has"),
    ):
        toy_demo(3, WORDS[1]).save(path)
        with np.load(path) as data:
            arrays = dict(data)
        change(arrays)
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=rf"a\.npz: {words}"):
            Demo.load(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"a\.npz: it cannot be read"):
        Demo.load(path)


def test_when_there_are_no_demonstrations_expect_refusal():
    with pytest.raises(ValueError, match="no demonstrations"):
        ChunkDataset([])


def test_when_a_scene_has_several_instructions_expect_one_image_and_several_targets():
    first = replace(toy_demo(0), usable=np.zeros(20, dtype=bool))
    other = replace(toy_demo(1, WORDS[1]), front=first.front[:0], wrist=first.wrist[:0], usable=first.usable)
    data = ChunkDataset([toy_demo(5), first, other])
    batch = data.gather([np.array([0, 0])], [np.array([1, 4]), np.array([2, 4])])
    assert np.array_equal(batch.images[1], batch.images[2])
    assert batch.instruction[1] != batch.instruction[2]
    drawn = data.batch(np.random.default_rng(0), 4, 3)
    assert (len(drawn.images), len(drawn.actions)) == (7, 4)
