# SPDX-License-Identifier: Apache-2.0
"""A tiny VLA must be able to learn a toy task, and to do it the same way twice."""

import numpy as np
import pytest
import torch

from fakes.toy_vla import TINY, WORDS, toy_demo, toy_trainer
from vla_policy.core.backends.pocket import PocketBackend
from vla_policy.core.flow import encode_prefix
from vla_policy.core.preprocess import prompt_ids
from vla_policy.core.protocol import Observation
from vla_policy.core.rl_token import TokenShape
from vla_policy.core.training.dataset import cartesian_chunks
from vla_policy.core.training.export import export
from vla_policy.core.training.pointing import cell_targets, offset_targets
from vla_policy.core.training.token import TokenConfig, train_token

pytestmark = pytest.mark.learning

STEPS = 1000


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("learnt")
    trainer = toy_trainer(steps=STEPS, batch=16, learning_rate=3e-3, ema_decay=0.98, warmup_steps=30)
    results = [trainer.advance() for _ in range(STEPS)]
    trainer.save(folder / "run")
    export(folder / "run", folder / "model", model_id="toy")
    return trainer, results, PocketBackend.load(str(folder / "model"), num_steps=8)


def what_heads_see(trainer):
    """Inputs of 64 frames, and the hidden layers that the heads are trained on."""
    batch = trainer.data.batch(np.random.default_rng(7), 64, 0)
    ids = prompt_ids(trainer.tokenizer, trainer.data.instructions, TINY, cameras=2)
    inputs = trainer.inputs(batch, torch.Generator().manual_seed(0), ids)
    with torch.no_grad():
        prefix = encode_prefix(
            trainer.model, inputs.input_ids, inputs.pixel_values, inputs.camera_mask, keep_hidden=True
        )
    return inputs, prefix.hidden


def test_when_trained_on_a_toy_task_expect_the_flow_loss_to_fall(learnt):
    _, results, _ = learnt
    first, last = results[:20], results[-20:]
    assert np.mean([r.flow for r in last]) < 0.35 * np.mean([r.flow for r in first])


def test_when_trained_on_a_toy_task_expect_object_and_goal_detected_to_a_centimetre(learnt):
    trainer, _, _ = learnt
    inputs, hidden = what_heads_see(trainer)
    with torch.no_grad():
        seen = trainer.heads.detection(hidden[-1])
    error = (seen - inputs.detection) * torch.tensor(trainer.data.detection_stats.std)
    assert float(error[..., :3].norm(dim=-1).max()) < 0.01


def test_when_trained_on_a_toy_task_expect_the_tokens_of_object_and_goal_pointed_at(learnt):
    trainer, _, _ = learnt
    inputs, hidden = what_heads_see(trainer)
    front = inputs.where[:, 0]  # the toy's hand looks away from the table
    wanted = cell_targets(front, trainer.heads.pointing.grid)
    with torch.no_grad():
        log_shares, _ = trainer.heads.pointing(hidden[1])
    assert bool((log_shares[:, 0].argmax(-1) == wanted.argmax(-1)).all())
    # What a cross-entropy has above the entropy of its targets; an object at the border has only part of its share.
    wanted = wanted / wanted.sum(-1, keepdim=True)
    excess = (torch.xlogy(wanted, wanted) - wanted * log_shares[:, 0]).sum(-1)
    assert float(excess.max()) < 0.01


def test_when_trained_on_a_toy_task_expect_the_place_within_the_token_to_a_fiftieth_of_it(learnt):
    trainer, _, _ = learnt
    inputs, hidden = what_heads_see(trainer)
    grid = trainer.heads.pointing.grid
    with torch.no_grad():
        _, offsets = trainer.heads.pointing(hidden[1])
    front = inputs.where[:, 0]
    error = (offsets[:, 0] - offset_targets(front, grid)).abs().amax(-1)[cell_targets(front, grid) > 0.2]
    assert float(error.max()) < 0.02


def test_when_trained_on_a_toy_task_expect_colour_and_noun_of_object_and_goal_named(learnt):
    trainer, _, _ = learnt
    inputs, hidden = what_heads_see(trainer)
    with torch.no_grad():
        scores = trainer.heads.naming(hidden[-1])
    assert bool((scores.argmax(-1) == inputs.names).all())
    assert float(torch.nn.functional.cross_entropy(scores.flatten(0, 2), inputs.names.flatten())) < 0.01


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
