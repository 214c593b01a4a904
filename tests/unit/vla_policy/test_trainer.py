# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fakes.toy_vla import toy_demo, toy_trainer
from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.training.dataset import ChunkDataset
from vla_policy.core.training.trainer import TrainConfig, latest_checkpoint, shifted


def weights(trainer):
    return {k: v.clone() for k, v in trainer.averaged_model().items()}


def same(first, second):
    return all(torch.equal(first[k], second[k]) for k in first)


def test_when_the_schedule_runs_expect_warm_up_then_cosine_to_the_floor():
    config = TrainConfig(steps=1000, warmup_steps=100, learning_rate=1.0, final_share=0.1)
    assert config.rate(0) == pytest.approx(0.01)
    assert config.rate(99) == pytest.approx(1.0)
    assert config.rate(550) == pytest.approx(0.55, abs=0.01)
    assert config.rate(1000) == pytest.approx(0.1)


def test_when_interrupted_and_resumed_expect_the_weights_of_an_unbroken_run(tmp_path):
    whole = toy_trainer()
    for _ in range(6):
        whole.advance()
    first = toy_trainer()
    for _ in range(3):
        first.advance()
    first.save(tmp_path / "step-000003")
    second = toy_trainer()
    second.resume(latest_checkpoint(tmp_path))
    for _ in range(3):
        second.advance()
    assert second.step == 6
    assert same(weights(whole), weights(second))


def test_when_a_checkpoint_has_no_manifest_expect_the_one_before_it(tmp_path):
    trainer = toy_trainer()
    trainer.save(tmp_path / "step-000001")
    trainer.save(tmp_path / "step-000002")
    (tmp_path / "step-000002" / "manifest.json").unlink()
    assert latest_checkpoint(tmp_path) == tmp_path / "step-000001"
    with pytest.raises(CheckpointError):
        trainer.resume(tmp_path / "step-000002")


def test_when_the_seed_differs_expect_other_weights():
    assert not same(weights(toy_trainer(seed=0)), weights(toy_trainer(seed=1)))


def test_when_validated_expect_errors_in_centimetres_and_weights_untouched():
    trainer = toy_trainer()
    held = ChunkDataset([toy_demo(20)], stats=trainer.data.stats)
    held.use_detection_stats(trainer.data.detection_stats)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    figures = trainer.validate(held, batches=1)
    assert 0.0 < figures["object_cm"] < 100.0
    assert same(before, trainer.model.state_dict())


def test_when_images_are_shifted_expect_content_moved_and_borders_repeated():
    batch = toy_trainer().data.batch(np.random.default_rng(0), 4)
    assert shifted(batch, np.random.default_rng(0), 0) is batch
    moved = shifted(batch, np.random.default_rng(0), 2)
    assert moved.images.shape == batch.images.shape
    assert set(np.unique(moved.images)) <= set(np.unique(batch.images))
    assert not np.array_equal(moved.images, batch.images)


def test_when_started_from_a_shipped_model_expect_its_weights(pocket_directory):
    trainer = toy_trainer(seed=7)
    trainer.start_from(pocket_directory)
    shipped = load_file(pocket_directory / "model.safetensors")
    assert all(torch.equal(v, shipped[k].to(v.dtype)) for k, v in trainer.averaged_model().items())


def test_when_started_from_another_run_expect_its_weights_and_a_fresh_schedule(tmp_path):
    first = toy_trainer()
    for _ in range(3):
        first.advance()
    first.save(tmp_path / "run")
    second = toy_trainer(seed=7)
    second.start_from(tmp_path / "run")
    assert second.step == 0
    assert same(weights(first), weights(second))
