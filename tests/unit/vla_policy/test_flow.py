# SPDX-License-Identifier: Apache-2.0
"""Flow convention and prefix cache: t = 1 is noise, t = 0 is data, velocity is noise minus data."""

from types import SimpleNamespace

import pytest
import torch

from vla_policy.core.expert import ExpertStep, integrate, stack_prefix
from vla_policy.core.flow import encode_prefix, sample_chunks, velocity
from vla_policy.core.tokenizer import GOAL, IMAGE, OBJECT
from vla_policy.core.training.losses import FlowTime

IMAGES, WORDS = 8, 7


@pytest.fixture
def looked(tiny_model):
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(6, 20, (1, WORDS), generator=generator)
    ids = torch.cat([torch.full((1, IMAGES), IMAGE), words, torch.tensor([[OBJECT, GOAL]])], dim=1)
    pixels = torch.rand(1, 2, 3, 24, 24, generator=generator) * 2 - 1
    state = torch.randn(1, 10, generator=generator)
    noise = torch.randn(8, 16, 7, generator=generator)
    for parameter in tiny_model.parameters():
        if parameter.dim() == 1:  # biases and norms start at zero, where mistakes in them do not show
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return SimpleNamespace(model=tiny_model, ids=ids, pixels=pixels, state=state, noise=noise)


def masks(padding):
    count = IMAGES + WORDS + 2
    return None if padding == 0 else torch.tensor([[1] * (count - padding) + [0] * padding])


@torch.no_grad()
def test_when_the_field_is_exact_expect_euler_to_reach_the_data(monkeypatch):
    data = torch.full((4, 16, 7), 0.3)
    noise = torch.randn(4, 16, 7, generator=torch.Generator().manual_seed(0))
    calls = []

    def exact(model, prefix, state, noisy, time):
        calls.append(float(time[0]))
        return (noisy - data) / time[:, None, None]  # equals noise - data on the straight path

    monkeypatch.setattr("vla_policy.core.flow.velocity", exact)
    out = sample_chunks(None, None, torch.zeros(1, 10), noise, 5)
    assert torch.allclose(out, data, atol=1e-5)
    assert calls == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


@torch.no_grad()
def test_when_transformers_computes_its_loss_expect_our_convention(looked):
    actions = torch.full((1, 16, 7), 0.5)
    time = torch.tensor([0.7])
    prefix = encode_prefix(looked.model, looked.ids, looked.pixels, None)
    noise = looked.noise[:1]
    ours = velocity(looked.model, prefix, looked.state, 0.7 * noise + 0.3 * actions, time)
    theirs = looked.model(
        state=looked.state, noise=noise, timestep=time, actions=actions, past_key_values=prefix.cache(1)
    )
    assert torch.allclose(theirs.loss, (ours - (noise - actions)).pow(2), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("padding", [0, 3])
def test_when_noises_are_one_batch_expect_what_single_calls_give(looked, padding):
    prefix = encode_prefix(looked.model, looked.ids, looked.pixels, None, masks(padding))
    step = ExpertStep(looked.model)
    together = integrate(step, prefix, looked.state, looked.noise[None], 4)[0]
    alone = torch.cat([integrate(step, prefix, looked.state, looked.noise[None, i : i + 1], 4)[0] for i in range(8)])
    assert torch.allclose(together, alone, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("padding", [0, 3])
def test_when_the_cache_is_shared_expect_the_full_forward_pass(looked, padding):
    mask = masks(padding)
    prefix = encode_prefix(looked.model, looked.ids, looked.pixels, None, mask)
    full_mask = torch.ones_like(looked.ids) if mask is None else mask
    whole = looked.model.sample_actions(
        state=looked.state,
        input_ids=looked.ids,
        pixel_values=looked.pixels,
        pixel_attention_mask=torch.ones(1, 2, dtype=torch.bool),
        attention_mask=full_mask,
        noise=looked.noise[:1],
        num_steps=4,
    )
    cached = sample_chunks(looked.model, prefix, looked.state, looked.noise, 4)
    plain = integrate(ExpertStep(looked.model), prefix, looked.state, looked.noise[None], 4)[0]
    assert torch.allclose(cached[:1], whole, atol=1e-5)
    assert torch.allclose(plain, cached, atol=1e-5)


@torch.no_grad()
def test_when_denoised_twice_from_one_prefix_expect_it_unchanged(looked):
    prefix = encode_prefix(looked.model, looked.ids, looked.pixels, None)
    before = [t.clone() for t in stack_prefix(prefix)]
    first = sample_chunks(looked.model, prefix, looked.state, looked.noise, 2)
    assert torch.equal(first, sample_chunks(looked.model, prefix, looked.state, looked.noise, 2))
    assert all(torch.equal(a, b) for a, b in zip(before, stack_prefix(prefix), strict=True))


@torch.no_grad()
def test_when_a_camera_mask_is_given_expect_the_short_way_to_agree_with_it(looked):
    short = encode_prefix(looked.model, looked.ids, looked.pixels, None)
    long = encode_prefix(looked.model, looked.ids, looked.pixels, torch.ones(1, 2, dtype=torch.bool))
    assert torch.allclose(short.last, long.last, atol=1e-6)


def test_when_flow_times_are_drawn_expect_more_noise_than_data():
    times = FlowTime().draw(torch.Generator().manual_seed(0), 20_000)
    assert float(times.min()) >= 0.001
    assert float(times.max()) <= 1.0
    assert float(times.mean()) == pytest.approx(0.6, abs=0.01)  # mean of Beta(1.5, 1)
