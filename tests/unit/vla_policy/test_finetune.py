# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning moves the action expert alone, towards what it is shown, into a directory that can be served."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vla_policy.core.backends.pocket import PocketBackend
from vla_policy.core.training.export import export_finetuned
from vla_policy.core.training.finetune import (
    FinetuneConfig,
    Windows,
    expert_parameters,
    finetune_expert,
    finetune_soup,
)


@pytest.fixture
def windows(pocket, observation):
    """One observation, and a hand that closes while the arm goes up."""
    context = pocket.prefix(observation)
    actions = torch.zeros(pocket.spec.chunk_shape)
    actions[:, 2], actions[:, -1] = 1.0, -1.0
    return Windows.of([(context.prefix, context.state, actions)] * 4)


def chunk(backend, observation):
    noise = np.random.default_rng(0).standard_normal((16, *backend.spec.noise_shape)).astype(np.float32)
    return backend.denoise(backend.prefix(observation), noise).mean(axis=(0, 1))


def test_when_fine_tuned_expect_what_was_shown_and_the_same_features(pocket, observation, windows):
    eyes = {n: p.clone() for n, p in pocket.model.named_parameters() if n not in expert_parameters(pocket.model)}
    features, losses = pocket.features(pocket.prefix(observation)), []
    before = chunk(pocket, observation)
    config = FinetuneConfig(steps=150, batch=8, noises=4, learning_rate=5e-3)
    finetune_expert(pocket.model, windows, config, losses.append)
    after = chunk(pocket, observation)
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    wanted = windows.actions[0].mean(0).numpy()
    assert np.abs(after - wanted).max() < 0.3 < np.abs(before - wanted).max()
    np.testing.assert_array_equal(features, pocket.features(pocket.prefix(observation)))
    assert eyes
    for name, parameter in pocket.model.named_parameters():
        if name in eyes:
            assert torch.equal(parameter, eyes[name])


def test_when_run_again_from_the_same_seed_expect_the_same_weights(pocket_directory, windows):
    made = []
    for _ in range(2):
        backend = PocketBackend.load(str(pocket_directory))
        finetune_expert(backend.model, windows, FinetuneConfig(steps=3, batch=2), lambda _loss: None)
        made.append({n: p.detach().clone() for n, p in expert_parameters(backend.model).items()})
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 11])
def test_when_there_are_few_steps_expect_a_loss_of_each(pocket_directory, windows, steps):
    losses = []
    backend = PocketBackend.load(str(pocket_directory))
    finetune_expert(backend.model, windows, FinetuneConfig(steps=steps, batch=1, noises=1), losses.append)
    assert len(losses) == steps


def test_when_averaged_expect_the_mean_of_what_each_seed_gives(pocket_directory, windows):
    def expert(backend):
        return {n: p.detach().clone() for n, p in expert_parameters(backend.model).items()}

    alone = []
    for seed in (5, 6):
        backend = PocketBackend.load(str(pocket_directory))
        finetune_expert(backend.model, windows, FinetuneConfig(steps=3, batch=2, seed=seed), lambda _loss: None)
        alone.append(expert(backend))
    backend, losses = PocketBackend.load(str(pocket_directory)), []
    config = FinetuneConfig(steps=3, batch=2, seed=5)
    finetune_soup(backend.model, windows, config, 2, losses.append)
    assert len(losses) == 6
    for name, value in expert(backend).items():
        torch.testing.assert_close(value, (alone[0][name] + alone[1][name]) / 2)
    assert not all(torch.equal(alone[0][name], alone[1][name]) for name in alone[0])


def test_when_exported_expect_a_directory_that_plays_the_new_chunks(
    pocket, pocket_directory, observation, windows, tmp_path
):
    config = FinetuneConfig(steps=20, batch=4, learning_rate=5e-3)
    finetune_expert(pocket.model, windows, config, lambda _loss: None)
    export_finetuned(pocket_directory, tmp_path / "new", pocket.model, {"finetuned": {"steps": 20}})
    served = PocketBackend.load(str(tmp_path / "new"))
    old = PocketBackend.load(str(pocket_directory))
    np.testing.assert_allclose(chunk(served, observation), chunk(pocket, observation), atol=0.05)  # bfloat16
    assert np.abs(chunk(served, observation) - chunk(old, observation)).max() > 0.1
    manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
    assert (manifest["model_id"], manifest["finetuned"]) == ("tiny-finetuned", {"steps": 20})
    assert served.spec.instructions == old.spec.instructions


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch": 0}, {"learning_rate": float("nan")}])
def test_when_a_setting_cannot_work_expect_its_name_in_the_error(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        FinetuneConfig(**change)


def test_when_none_is_to_be_averaged_expect_that_refused(pocket, windows):
    with pytest.raises(ValueError, match="count is 0"):
        finetune_soup(pocket.model, windows, FinetuneConfig(steps=1), 0, lambda _loss: None)


def test_when_there_is_nothing_to_learn_from_expect_that_said():
    with pytest.raises(ValueError, match="no window"):
        Windows.of([])
