# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking on a flow whose velocity is known: correlated Gaussian "trajectories" of 16 steps."""

import numpy as np
import pytest
import torch

from vla_policy.core.backends.fake import FakeBackend
from vla_policy.core.chunk_prefix import ChunkPrefix, guidance_weight, soft_mask, step_towards
from vla_policy.core.rtc import guided_velocity

H, D, STEPS, DELAY = 16, 1, 10, 4
INDEX = torch.arange(H, dtype=torch.float64)
COVARIANCE = torch.exp(-0.5 * ((INDEX[:, None] - INDEX[None, :]) / 4.0) ** 2) + 1e-4 * torch.eye(H, dtype=torch.float64)


def estimate(x, t):
    """E[data | x] [N, H, 1] at flow time t."""
    keep = (1.0 - t) * COVARIANCE @ torch.linalg.inv((1.0 - t) ** 2 * COVARIANCE + t**2 * torch.eye(H).double())
    return torch.einsum("ij,njd->nid", keep, x)


def velocity(x, t):
    return (x - estimate(x, t)) / t


def sample(guide, count=64, seed=0):
    """Chunks [N, H, 1], each step's velocity changed by `guide`."""
    x = torch.randn(count, H, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for number in range(STEPS):
        t = 1.0 - number / STEPS
        x = x - guide(x, t) / STEPS
    return x


def old_chunk():
    drawn = torch.randn(H, D, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return torch.linalg.cholesky(COVARIANCE) @ drawn


TARGET = old_chunk()
WEIGHT = torch.from_numpy(soft_mask(H, DELAY, H - 8)).double()[:, None]


def error(chunks):
    return float((chunks - TARGET)[:, :DELAY].pow(2).mean())


def test_when_a_chunk_is_guided_expect_its_first_steps_to_be_those_of_the_old_one():
    free = error(sample(velocity))
    guided = error(sample(lambda x, t: guided_velocity(lambda p: velocity(p, t), x, t, TARGET, WEIGHT, 5.0)))
    assert guided < 0.02 < 0.5 < free


@pytest.mark.parametrize(("data_sign", "pull_sign"), [(-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)])
def test_when_a_sign_is_wrong_expect_the_prefix_missed(data_sign, pull_sign):
    """Of the four ways to write estimate and pull, one draws the chunk to the old one."""

    def guide(x, t):
        point = x.detach().requires_grad_()
        field = velocity(point, t)
        guess = point + data_sign * t * field
        (g,) = torch.autograd.grad(guess, point, grad_outputs=(WEIGHT * (TARGET - guess)).detach())
        return field.detach() + pull_sign * guidance_weight(t, 5.0) * g

    right = error(sample(lambda x, t: guided_velocity(lambda p: velocity(p, t), x, t, TARGET, WEIGHT, 5.0)))
    assert not error(sample(guide)) < 10.0 * right


def test_when_there_are_no_gradients_expect_the_prefix_all_the_same():
    prefix = ChunkPrefix(TARGET.numpy()[: H - 8].astype(np.float32), DELAY)

    def guide(x, t):
        following = (x - velocity(x, t) / STEPS).numpy()
        return torch.from_numpy((x.numpy() - step_towards(x.numpy(), following, t, STEPS, prefix)) * STEPS).double()

    assert error(sample(guide)) < 0.02


def test_when_the_caller_wants_no_gradients_expect_the_jacobian_all_the_same():
    """In `no_grad` a velocity computed outside would make the Jacobian the identity in silence."""
    x = torch.randn(2, H, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with_grad = guided_velocity(lambda p: velocity(p, 0.5), x, 0.5, TARGET, WEIGHT, 5.0)
    with torch.no_grad():
        without = guided_velocity(lambda p: velocity(p, 0.5), x, 0.5, TARGET, WEIGHT, 5.0)
    assert torch.equal(with_grad, without) and not without.requires_grad


def test_when_the_mask_is_made_expect_one_then_falling_then_nothing():
    mask = soft_mask(H, 3, 8)
    assert list(mask[:3]) == [1.0] * 3 and not mask[8:].any()
    assert (np.diff(mask[2:9]) < 0.0).all() and mask[3] == pytest.approx((5 / 6) * (np.exp(5 / 6) - 1.0) / (np.e - 1.0))


def test_when_flow_time_passes_expect_the_weight_bounded_by_beta():
    assert guidance_weight(1.0, 5.0) == guidance_weight(0.999, 5.0) == 5.0
    assert guidance_weight(0.5, 5.0) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"delay": 5}, "delay is 5, allowed: 0..4"),
        ({"beta": 0.0}, "beta is 0.0"),
        ({"actions": np.full((4, 7), np.nan, np.float32)}, "finite"),
        ({"actions": np.zeros(4, np.float32)}, "two-dimensional"),
    ],
)
def test_when_a_prefix_cannot_guide_expect_what_is_wrong(fields, said):
    with pytest.raises(ValueError, match=said):
        ChunkPrefix(**({"actions": np.zeros((4, 7), np.float32), "delay": 2} | fields))


def test_when_the_pocket_vla_is_guided_expect_the_old_steps_first(pocket, observation):
    context = pocket.prefix(observation)
    noise = np.random.default_rng(0).standard_normal((2, *pocket.spec.noise_shape)).astype(np.float32)
    free = pocket.denoise(context, noise)
    old = ChunkPrefix(free[0] + 0.5, delay=4)
    near = pocket.denoise(context, noise[1:], old)
    start = old.actions[:4]
    assert np.abs(near[0, :4] - start).mean() < 0.5 * np.abs(free[1, :4] - start).mean()
    assert np.array_equal(pocket.denoise(context, noise), free)


def test_when_the_fake_is_guided_expect_the_old_steps_first():
    backend = FakeBackend()
    old = ChunkPrefix(np.ones((8, 7), np.float32), delay=3)
    (chunk,) = backend.denoise(None, np.zeros((1, 16, 7), np.float32), old)
    assert np.array_equal(chunk[:3], np.ones((3, 7))) and not chunk[8:].any()
