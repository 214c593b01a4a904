# SPDX-License-Identifier: Apache-2.0
"""What every method that learns online must do, as it is shipped; a new line in the registry is tested at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fakes.identity_task import CONTRACT, SHAPE, TRIAL, IdentityTask, packed_policy, sent, small
from fakes.method_learning import batch_of, built, filled, learnt, shipped
from fakes.threads import one_thread
from rl_learner.core.checkpoint import digest
from rl_learner.core.training_run import TrainingRun
from rl_methods.base import OPTIONAL_DATA, LearnedPolicy, NoisePolicy, PolicyInput, RuntimeConfig
from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.common.weights import PolicySet, WeightsError
from rl_methods.registry import entry, make_policy, online_methods
from vla_policy.core.steering.decide import decide, steer

EDIT_LIMIT = TRIAL.edit_limit
CHUNK, NOISE = (SHAPE.horizon, SHAPE.action_dim), (SHAPE.candidates, SHAPE.horizon, SHAPE.noise_dim)


def situation(number: int = 0) -> PolicyInput:
    chance = np.random.default_rng(number)
    return PolicyInput(
        features=chance.standard_normal(SHAPE.features).astype(np.float32),
        proprio=np.zeros(CONTRACT.proprio_dim, np.float32),
        candidates=chance.standard_normal((SHAPE.candidates, *CHUNK), dtype=np.float32),
        noise=chance.standard_normal(NOISE, dtype=np.float32),
        noise_steered=False,
        seed=3,
        sequence=number,
        episode_step=8 * number,
    )


def run_of(name: str) -> TrainingRun:
    return TrainingRun(small(shipped(name)), SHAPE, capacity=50, contract_hash=CONTRACT.hash())


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(params=online_methods())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_when_it_is_built_as_shipped_expect_fresh_networks_and_an_entry_that_says_what_it_needs(name: str) -> None:
    algorithm = shipped(name).learner(replace(SHAPE, cameras=2, image_size=48))
    assert algorithm.updates == 0 and algorithm.policy_weights() and algorithm.optimizers()
    assert entry(name).summary and isinstance(make_policy(name), LearnedPolicy)


def test_when_a_replay_keeps_what_it_asks_for_alone_expect_updates_of_both_kinds_that_are_finite(name: str) -> None:
    algorithm = built(name)
    batch = batch_of(filled(algorithm), 0)
    kept = {field for field in OPTIONAL_DATA if getattr(batch, field).numel()}
    assert kept == set(algorithm.data_spec.fields)
    before = digest(algorithm.state())
    metrics = learnt(algorithm, 0, 6)
    assert all(math.isfinite(value) for each in metrics for value in each.values()) and all(metrics)
    assert algorithm.updates == 6 and digest(algorithm.state()) != before


def test_when_the_seed_is_the_same_expect_the_same_bits_and_with_another_seed_others(name: str) -> None:
    states = []
    for seed in (0, 0, 1):
        algorithm = built(name, seed)
        learnt(algorithm, 0, 4)
        states.append(digest(algorithm.state()))
    assert states[0] == states[1] != states[2]


def test_when_it_is_stopped_and_restored_expect_the_same_bits_as_without_a_break(name: str) -> None:
    whole, half, other = built(name), built(name), built(name, seed=9)
    learnt(whole, 0, 7)
    learnt(half, 0, 4)
    other.restore(half.state())
    assert digest(other.state()) == digest(half.state()) and other.updates == 4
    learnt(other, 4, 7)
    assert digest(other.state()) == digest(whole.state())


def test_when_the_state_is_another_methods_expect_refusal_and_nothing_changed(name: str) -> None:
    algorithm = built(name)
    before = digest(algorithm.state())
    for stranger in set(online_methods()) - {name}:
        with pytest.raises(CheckpointError):
            algorithm.restore(built(stranger).state())
        with pytest.raises(CheckpointError, match="configuration differs"):
            run_of(name).restore(run_of(stranger).snapshot())
    assert digest(algorithm.state()) == before


def spoiled(weights: PolicySet) -> dict[str, PolicySet]:
    """Weights with one thing wrong, by what it is."""
    name = next(name for name, tensor in weights.tensors.items() if tensor.ndim == 2)
    good = weights.tensors[name]
    others = {each: tensor for each, tensor in weights.tensors.items() if each != name}

    def with_tensors(**tensors: Any) -> PolicySet:
        return replace(weights, tensors=others | tensors)

    return {
        "a missing tensor": with_tensors(),
        "an unknown tensor": with_tensors(**{name: good, "more": torch.zeros(1)}),
        "another shape": with_tensors(**{name: good[:-1]}),
        "another type": with_tensors(**{name: good.double()}),
        "not a number": with_tensors(**{name: torch.full_like(good, float("nan"))}),
        "an unknown field": replace(weights, architecture={**weights.architecture, "more": 1}),
        "no architecture": replace(weights, architecture={}),
        "other features": replace(weights, architecture={**weights.architecture, "features": SHAPE.features + 1}),
    }


def is_refused(policy: LearnedPolicy, weights: PolicySet) -> bool:
    try:
        came = sent(weights.manifest.method, weights.tensors, weights.architecture)
        policy.prepare(came, TRIAL)
    except WeightsError:
        return True
    return False


def test_when_its_weights_reach_its_policy_expect_them_accepted_and_refused_when_spoiled(name: str) -> None:
    run, policy = run_of(name), make_policy(name)
    assert isinstance(policy, LearnedPolicy)
    learnt(run.learner, 0, 4)
    weights = packed_policy(run)
    for what, wrong in spoiled(weights).items():
        assert is_refused(policy, wrong), what
    assert policy.version == 0
    policy.install(policy.prepare(weights, TRIAL))
    assert policy.version == 1


@pytest.mark.parametrize("explore", [False, True])
def test_when_it_acts_expect_chunks_that_fit_stay_in_bounds_and_are_repeated(name: str, explore: bool) -> None:
    run, policy = run_of(name), make_policy(name)
    assert isinstance(policy, LearnedPolicy)
    learnt(run.learner, 0, 8)
    policy.install(policy.prepare(packed_policy(run), TRIAL))
    runtime = RuntimeConfig(n_candidates=SHAPE.candidates, explore=explore)
    for number in range(20):
        given = situation(number)
        kept = given.candidates.copy()
        output = decide(policy, given, runtime)
        assert output.chunk.shape == CHUNK and output.policy_version in (0, 1)
        assert np.abs(output.chunk).max() <= np.abs(kept).max() + EDIT_LIMIT + 1e-5
        if output.candidate >= 0:
            assert np.abs(output.chunk - kept[output.candidate]).max() <= EDIT_LIMIT + 1e-5
        assert np.array_equal(given.candidates, kept)
        assert np.array_equal(decide(policy, given, runtime).chunk, output.chunk)
        if isinstance(policy, NoisePolicy):
            noises = [steer(policy, given.features, NOISE, 3, number, runtime) for _ in range(2)]
            assert np.array_equal(*noises) and noises[0].shape == NOISE


def test_when_it_plays_the_identity_task_expect_it_to_do_better_than_its_base(name: str) -> None:
    demonstrations = 60 if "demonstrations" in entry(name).needs else 0
    task = IdentityTask(small(shipped(name)), demonstrations=demonstrations)
    before = task.success_rate()
    task.train(300)
    assert before < 0.4
    assert task.success_rate() > before + 0.2
