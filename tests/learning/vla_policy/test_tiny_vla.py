# SPDX-License-Identifier: Apache-2.0
"""A tiny VLA must be able to learn a toy task, and to do it the same way twice."""

import numpy as np
import pytest
import torch

from fakes.toy_vla import TINY, WORDS, toy_demo, toy_trainer
from vla_policy.core.backends.pocket import PocketBackend
from vla_policy.core.protocol import Observation
from vla_policy.core.rl_token import TokenShape
from vla_policy.core.training.dataset import cartesian_chunks
from vla_policy.core.training.export import export
from vla_policy.core.training.token import TokenConfig, train_token

pytestmark = pytest.mark.learning


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("learnt")
    trainer = toy_trainer(steps=600, batch=16, learning_rate=3e-3, ema_decay=0.98, warmup_steps=30)
    results = [trainer.advance() for _ in range(600)]
    trainer.save(folder / "run")
    export(folder / "run", folder / "model", model_id="toy")
    return trainer, results, PocketBackend.load(str(folder / "model"), num_steps=8)


def test_when_trained_on_a_toy_task_expect_both_losses_to_fall(learnt):
    _, results, _ = learnt
    first, last = results[:20], results[-20:]
    assert np.mean([r.flow for r in last]) < 0.35 * np.mean([r.flow for r in first])
    # The pointing part of it is a cross-entropy against shares of cells, whose own entropy is its floor.
    assert np.mean([r.detection for r in last]) < 0.6 * np.mean([r.detection for r in first])


def test_when_asked_about_what_it_was_shown_expect_the_demonstrated_chunk(learnt):
    _, _, backend = learnt
    errors, spread = [], []
    for seed in range(8):
        demo = toy_demo(seed, WORDS[seed % 2])
        observation = Observation({"front": demo.front[2], "wrist": demo.wrist[2]}, demo.proprio[2], demo.instruction)
        noise = np.random.default_rng(seed).standard_normal((4, *backend.spec.noise_shape)).astype(np.float32)
        chunk = backend.denoise(backend.prefix(observation), noise).mean(axis=0)
        wanted = backend.spec.normalise(cartesian_chunks(demo, 16)[2])
        errors.append(np.abs(chunk - wanted)[:, :2].mean())
        spread.append(np.abs(wanted)[:, :2].mean())
    assert np.mean(errors) < 0.4 * np.mean(spread)


def test_when_trained_twice_from_one_seed_expect_the_same_weights():
    runs = []
    for _ in range(2):
        trainer = toy_trainer()
        losses = [trainer.advance().flow for _ in range(4)]
        runs.append((losses, trainer.averaged_model()))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(runs[0][1][name], tensor) for name, tensor in runs[1][1].items())


def test_when_the_rl_token_is_trained_expect_the_prefix_to_be_rebuilt_better(learnt):
    trainer, _, _ = learnt
    shape = TokenShape(embedding_dim=TINY.vlm_width, count=10, width=32, heads=2, layers=1, token_dim=16)
    losses = []
    encoder = train_token(
        trainer.model,
        trainer.data,
        trainer.tokenizer,
        (TINY, shape),
        TokenConfig(steps=120, batch=16, learning_rate=3e-3),
        lambda step, loss: losses.append(loss),
    )
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])
    assert not any(p.isnan().any() for p in encoder.parameters())
