# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from fakes.rl_windows import SHAPE, filled
from rl_learner.core.checkpoint import digest
from rl_methods.common.critic import CriticConfig
from rl_methods.dsrl.actor import knot_basis
from rl_methods.dsrl.algorithm import Dsrl, DsrlConfig


def make(**changes):
    torch.manual_seed(0)
    critic = CriticConfig(members=3, hidden=(32,), learning_rate=3e-3)
    settings = {"features": 6, "chunk_dim": 6, "horizon": 4, "noise_dim": 3, "knots": 4, "actor_hidden": (32,)}
    return Dsrl(DsrlConfig(**(settings | {"critic": critic, "actor_rate": 3e-3} | changes)))


@pytest.mark.parametrize("knots", [1, 2, 4, 16])
def test_when_unit_knots_are_spread_over_the_horizon_expect_unit_noise_at_every_step(knots):
    noise = torch.einsum("hk,nkm->nhm", knot_basis(knots, 16), torch.randn(20_000, knots, 2))
    assert float((noise.std(0) - 1.0).abs().max()) < 0.05


@pytest.mark.parametrize("knots", [1, 2, 4])
def test_when_noise_is_asked_for_expect_it_inside_the_box_and_the_first_without_chance(knots):
    dsrl = make(knots=knots, bound=1.5)
    noise = dsrl.noise(torch.zeros(6), 5, torch.Generator().manual_seed(0))
    again = dsrl.noise(torch.zeros(6), 5, torch.Generator().manual_seed(1))
    assert noise.shape == (5, 4, 3)
    assert torch.equal(noise[0], again[0])
    assert not torch.equal(noise[1], again[1])
    assert float(noise.abs().max()) <= 1.5 * (2**0.5)  # two knots at most overlap, in a row of length 1


def test_when_a_noise_leads_to_better_chunks_expect_the_actor_to_choose_it():
    dsrl = make(alpha=0.01, learn_alpha=False)
    replay = filled(0)
    generator = torch.Generator().manual_seed(0)
    from dataclasses import replace as change

    from fakes.rl_windows import window

    for i in range(64):
        w = window(i)
        noise = w.noise
        chunks = noise[:, : SHAPE.steps].copy()  # a VLA whose chunk is its noise
        good = float(chunks[0, :, 0].mean() > 0)
        replay.add(change(w, candidates=chunks, actions=chunks[0], reward=good, mask=0.0))
    for _ in range(300):
        dsrl.update(replay.sample(64, generator), generator)
    features = replay.sample(16, generator).features
    chosen = torch.stack([dsrl.noise(f, 1)[0] for f in features])
    assert float(chosen[:, : SHAPE.steps, 0].mean()) > 0.4


def test_when_resumed_expect_the_same_bits_as_without_a_break():
    replay = filled(20)

    def go(dsrl, first, last):
        for step in range(first, last):
            generator = torch.Generator().manual_seed(step)
            dsrl.update(replay.sample(16, generator), generator)
        return dsrl

    half = go(make(), 0, 2)
    torch.manual_seed(9)
    other = Dsrl(half.config)
    other.restore(half.state())
    assert digest(go(other, 2, 4).state()) == digest(go(make(), 0, 4).state())


def test_when_a_setting_cannot_work_expect_its_name_in_the_error():
    with pytest.raises(ValueError, match="knots"):
        make(knots=5)
    with pytest.raises(ValueError, match="bound"):
        make(bound=float("nan"))
