# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from rl_methods.common.critic import Critic, CriticConfig, polyak
from rl_methods.common.guard import GradientStep, Guard
from rl_methods.common.scoring import Reduce


def make(**changes):
    torch.manual_seed(0)
    return Critic(CriticConfig(members=4, hidden=(32, 32), learning_rate=3e-3, **changes), features=3, action=2)


def test_when_members_are_reduced_expect_minimum_below_lower_below_mean():
    critic = make(deviations=0.5)
    features, chunks = torch.randn(5, 3), torch.randn(5, 6, 2)
    scores = {how: critic.score(features, chunks, how, None) for how in Reduce if how is not Reduce.SUBSET}
    assert bool((scores[Reduce.MINIMUM] <= scores[Reduce.MEAN]).all())
    assert bool((scores[Reduce.LOWER] <= scores[Reduce.MEAN]).all())


def test_when_a_subset_is_taken_expect_the_minimum_of_two_members_only():
    critic = make(subset=2)
    features, chunks = torch.randn(1, 3), torch.randn(1, 1, 2)
    every = critic.values(features, chunks, target=True)[:, 0, 0]
    pairs = {round(float(min(every[i], every[j])), 6) for i in range(4) for j in range(4) if i != j}
    for seed in range(20):
        score = critic.score(features, chunks, Reduce.SUBSET, torch.Generator().manual_seed(seed))
        assert round(float(score), 6) in pairs


@pytest.mark.parametrize("bounded", [True, False])
def test_when_actions_differ_in_value_expect_the_critic_to_rank_them(bounded):
    critic = make(bounded=bounded)
    generator = torch.Generator().manual_seed(1)
    for _ in range(300):
        features = torch.randn(64, 3, generator=generator)
        chunks = torch.randn(64, 2, generator=generator)
        wanted = (chunks[:, 0] * features[:, 0] > 0).float()
        loss = critic.loss(features, chunks, wanted, torch.ones(64))
        Guard().take([GradientStep("critic", critic.optimizer, loss)])
        critic.follow()
    critic.sync()
    features = torch.tensor([[1.5, 0.0, 0.0], [-1.5, 0.0, 0.0]])
    chunks = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).expand(2, 2, 2)
    best = critic.score(features, chunks, Reduce.MINIMUM, None).argmax(1)
    assert best.tolist() == [0, 1]


def test_when_a_row_has_no_weight_expect_it_not_to_count():
    critic = make()
    features, chunks = torch.randn(4, 3), torch.randn(4, 2)
    weight = torch.tensor([1.0, 1.0, 0.0, 0.0])
    part = critic.loss(features, chunks, torch.tensor([1.0, 0.0, 1.0, 0.0]), weight)
    other = critic.loss(features, chunks, torch.tensor([1.0, 0.0, 0.0, 1.0]), weight)
    assert float(part.detach()) == float(other.detach())
    assert float(critic.loss(features, chunks, torch.ones(4), torch.zeros(4)).detach()) == 0.0


@pytest.mark.parametrize("changes", [{"subset": 5}, {"subset": 0}, {"polyak": 0.0}])
def test_when_a_setting_cannot_work_expect_its_name_in_the_error(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        CriticConfig(members=4, **changes)
    with pytest.raises(ValueError, match="learning_rate"):
        CriticConfig(learning_rate=float("nan"))


def test_when_a_target_follows_expect_the_given_share():
    a, b = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    before, source = a.weight.detach().clone(), b.weight.detach().clone()
    polyak(a, b, 0.25)
    torch.testing.assert_close(a.weight.detach(), 0.75 * before + 0.25 * source)
