# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from fakes.rl_windows import SHAPE, filled
from rl_learner.core.checkpoint import digest
from rl_methods.common.critic import CriticConfig
from rl_methods.common.guard import DivergenceError, GradientStep, Guard
from rl_methods.dsrl.algorithm import Dsrl, DsrlConfig
from rl_methods.expo.algorithm import Expo, ExpoConfig

CRITIC = CriticConfig(members=3, hidden=(16,), bounded=False)


def expo():
    torch.manual_seed(0)
    return Expo(ExpoConfig(SHAPE.features, SHAPE.steps, 3, CRITIC, edit_knots=2, edit_hidden=(16,), alpha=0.1))


def dsrl():
    torch.manual_seed(0)
    return Dsrl(DsrlConfig(SHAPE.features, 6, 4, 3, 4, critic=CRITIC, actor_hidden=(16,)))


POISON = [
    ("features", "nan"),
    ("actions", "nan"),
    ("candidates", "nan"),
    ("reward", "nan"),
    ("reward", "inf"),
    ("reward", "1e30"),
]


@pytest.mark.parametrize("make", [expo, dsrl])
@pytest.mark.parametrize(("name", "value"), POISON)
def test_when_a_batch_is_poisoned_expect_the_same_hash_after_the_step_as_before(make, name, value):
    learner, replay, generator = make(), filled(20), torch.Generator().manual_seed(0)
    for _ in range(3):
        learner.update(replay.sample(16, generator), generator)
    before = digest(learner.state())
    batch = replay.sample(16, generator)
    getattr(batch, name)[0] = float(value)
    getattr(batch, name)[8:] = float(value)
    with pytest.raises(DivergenceError):
        learner.update(batch, generator)
    assert digest(learner.state()) == before
    learner.update(replay.sample(16, generator), generator)
    assert digest(learner.state()) != before


def parameter():
    weight = torch.nn.Parameter(torch.ones(2))
    return weight, torch.optim.SGD([weight], lr=0.1)


def test_when_the_second_of_two_parts_diverges_expect_neither_to_step():
    (first, one), (second, two) = parameter(), parameter()
    guard = Guard()
    with pytest.raises(DivergenceError, match="second: loss nan"):
        guard.take([GradientStep("first", one, first.sum()), GradientStep("second", two, second.sum() * float("nan"))])
    assert first.tolist() == second.tolist() == [1.0, 1.0]
    assert guard.norms == {}


def test_when_a_norm_leaps_a_thousandfold_expect_refusal_and_a_small_start_to_be_no_measure():
    weight, optimizer = parameter()
    guard = Guard()
    guard.take([GradientStep("w", optimizer, 1e-6 * weight.sum())])
    guard.take([GradientStep("w", optimizer, 10.0 * weight.sum())])  # a million times more, and still small
    with pytest.raises(DivergenceError, match="gradient norm"):
        guard.take([GradientStep("w", optimizer, 1e4 * weight.sum())])


def test_when_it_is_restored_expect_the_same_judgement():
    weight, optimizer = parameter()
    guard, other = Guard(), Guard()
    for _ in range(5):
        guard.take([GradientStep("w", optimizer, 3.0 * weight.sum())])
    other.restore(guard.state())
    assert other.norms == guard.norms
