# SPDX-License-Identifier: Apache-2.0
"""The learned methods: what they play, from which weights, and which weights they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fakes.policy_sets import (
    Packed,
    dsrl_config,
    dsrl_set,
    expo_config,
    expo_set,
    fresh,
    packed,
    wrong_sets,
)
from harness.ring import contract
from rl_methods.base import (
    ChunkSource,
    LearnedPolicy,
    NoisePolicy,
    PolicyInput,
    PolicyOutput,
    RuntimeConfig,
    ValidationContext,
)
from rl_methods.common.architecture import architecture_of
from rl_methods.common.noise import gaussian
from rl_methods.common.probes import probes
from rl_methods.common.weights import WeightsError
from rl_methods.dsrl.policy import DsrlPolicy
from rl_methods.expo.actor import ExpoActor
from rl_methods.expo.policy import ExpoPolicy
from vla_policy.core.steering.decide import decide, steer
from vla_policy.core.steering.weight_store import KEEP, WeightStore

CONTRACT = contract()
ALL = RuntimeConfig(n_candidates=8)


def situation(number: int = 0, n: int = 4, *, steered: bool = False) -> PolicyInput:
    chance = np.random.default_rng(number)
    chunks = (n, CONTRACT.horizon, CONTRACT.action_dim)
    return PolicyInput(
        features=chance.standard_normal(CONTRACT.feature_dim).astype(np.float32),
        proprio=np.zeros(CONTRACT.proprio_dim, np.float32),
        candidates=chance.standard_normal(chunks, dtype=np.float32),
        noise=chance.standard_normal(chunks, dtype=np.float32),
        noise_steered=steered,
        seed=3,
        sequence=number,
    )


TRIAL = ValidationContext(CONTRACT, [*probes(CONTRACT), situation(99)], 2.0)


def shelf_of(method: Any, name: str, *sets: Packed, **settings: Any) -> WeightStore:
    shelf = WeightStore(method, name, **settings)
    for manifest, data in sets:
        shelf.take(shelf.check(manifest, data, TRIAL))
    return shelf


def expo(*sets: Packed) -> ExpoPolicy:
    method = ExpoPolicy()
    shelf_of(method, "expo", *sets)
    return method


def same(one: PolicyOutput, other: PolicyOutput) -> bool:
    return (
        np.array_equal(one.chunk, other.chunk)
        and np.array_equal(one.scores, other.scores)
        and (one.candidate, one.source, one.policy_version) == (other.candidate, other.source, other.policy_version)
    )


@pytest.mark.parametrize("kind", [ExpoPolicy, DsrlPolicy])
def test_when_there_are_no_weights_expect_the_first_candidate_of_the_base(kind: Any) -> None:
    method = kind()
    given = situation(steered=True)
    choice = decide(method, given, ALL)
    assert isinstance(method, LearnedPolicy) and method.version == 0
    assert np.array_equal(choice.chunk, given.candidates[0]) and len(choice.scores) == 0
    assert (choice.candidate, choice.source, choice.policy_version) == (0, ChunkSource.BASE, 0)


def test_when_weights_decide_expect_an_edit_inside_its_bound_with_scores_and_version() -> None:
    given = situation()
    choice = decide(expo(expo_set(CONTRACT, 7)), given, ALL)
    change = choice.chunk[:8] - given.candidates[choice.candidate][:8]
    assert choice.source == ChunkSource.EDITED and choice.policy_version == 7 and len(choice.scores) == 8
    assert 0.0 < np.abs(change).max() <= 0.2 + 1e-6
    assert choice.value == choice.scores[4:].max()


def test_when_the_share_of_edits_is_turned_down_expect_smaller_edits_and_at_zero_none() -> None:
    method, given = expo(expo_set(CONTRACT)), situation()
    half = decide(method, given, replace(ALL, edit_scale=0.5))
    none = decide(method, given, replace(ALL, edit_scale=0.0))
    assert np.abs(half.chunk - given.candidates[half.candidate]).max() <= 0.1 + 1e-6
    assert none.source == ChunkSource.BASE and np.array_equal(none.chunk, given.candidates[none.candidate])
    assert len(none.scores) == 4


@pytest.mark.parametrize("is_trained", [False, True])
def test_when_the_margin_is_out_of_reach_expect_the_base(is_trained: bool) -> None:
    high = {"margin": 10.0, "base_margin": 10.0}
    config = expo_config(CONTRACT, **high if is_trained else {})
    choice = decide(expo(expo_set(CONTRACT, config=config)), situation(), replace(ALL, **{} if is_trained else high))
    assert (choice.source, choice.candidate) == (ChunkSource.BASE, 0)


def test_when_the_rule_is_not_turned_expect_the_one_that_was_trained() -> None:
    config = expo_config(CONTRACT, select="minimum", base_margin=0.25)
    asked = replace(ALL, select="minimum", base_margin=0.25)
    as_trained = decide(expo(expo_set(CONTRACT, config=config)), situation(), ALL)
    assert np.array_equal(as_trained.scores, decide(expo(expo_set(CONTRACT)), situation(), asked).scores)


@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize("select", ["subset", "minimum", "lower", "mean"])
def test_when_an_episode_is_repeated_expect_the_same_choices_whatever_came_between(select: str, explore: bool) -> None:
    tuning = replace(ALL, select=select, explore=explore)
    first, second = expo(expo_set(CONTRACT)), expo(expo_set(CONTRACT))
    once = [decide(first, situation(number), tuning) for number in range(5)]
    torch.manual_seed(1)
    again = [decide(second, situation(number), tuning) for number in reversed(range(5))][::-1]
    assert all(map(same, once, again))


def test_when_exploring_expect_edits_that_differ_from_lap_to_lap() -> None:
    method, given = expo(expo_set(CONTRACT)), situation()
    chunks = [decide(method, replace(given, sequence=n), replace(ALL, n_candidates=1)).chunk for n in range(3)]
    assert not np.array_equal(chunks[0], chunks[1]) and not np.array_equal(chunks[1], chunks[2])


@pytest.mark.row(29)
@pytest.mark.parametrize("name", wrong_sets(CONTRACT, 6))
def test_when_a_set_is_wrong_expect_refusal_and_the_old_one_to_decide(name: str) -> None:
    method = ExpoPolicy()
    shelf = shelf_of(method, "expo", expo_set(CONTRACT, 5))
    before = decide(method, situation(), ALL)
    (manifest, data), reason = wrong_sets(CONTRACT, 6)[name]
    with pytest.raises(WeightsError) as caught:
        shelf.take(shelf.check(manifest, data, TRIAL))
    assert caught.value.reason == reason, str(caught.value)
    assert same(decide(method, situation(), ALL), before) and shelf.version == 5
    shelf.take(shelf.check(*expo_set(CONTRACT, 6), TRIAL))
    assert method.version == 6


@pytest.mark.row(29)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"edit_scale": (2.5,)}, "probe"), ({"features": 73}, "shape"), ({"action_dim": 6}, "shape"),
     ({"steps": 17}, "shape")],
)  # fmt: skip
def test_when_the_first_set_does_not_suit_the_robot_expect_refusal(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(WeightsError) as caught:
        shelf_of(ExpoPolicy(), "expo", expo_set(CONTRACT, config=expo_config(CONTRACT, **changes)))
    assert caught.value.reason == reason


@pytest.mark.row(29)
@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden", [10**9, 10**9]), ("hidden", [10**30]), ("hidden", [1] * 100_000), ("hidden", [0]), ("hidden", "16"),
     ("members", 10**12), ("members", True), ("edit_scale", [-1.0]), ("edit_scale", [True]), ("edit", 1),
     ("features", 74.0), ("select", "best"), ("select", 3), ("margin", "0"), ("deviations", "1"), ("unknown", 1),
     ("members", None)],
)  # fmt: skip
def test_when_an_architecture_is_absurd_expect_refusal_without_the_memory_being_taken(name: str, value: Any) -> None:
    config = expo_config(CONTRACT)
    architecture = architecture_of(config) | {name: value}
    with pytest.raises(WeightsError):
        shelf_of(ExpoPolicy(), "expo", packed(CONTRACT, fresh(ExpoActor, config), architecture))


def test_when_versions_are_pinned_expect_them_to_decide_until_the_newest_is_followed_again() -> None:
    method = ExpoPolicy()
    shelf = shelf_of(method, "expo", *(expo_set(CONTRACT, version, seed=version) for version in (1, 2, 3)))
    second = decide(expo(expo_set(CONTRACT, 2, seed=2)), situation(), ALL)
    shelf.pin(2)
    assert same(decide(method, situation(), ALL), second) and "pinned while 3" in shelf.description()
    for version in (4, 5, 6, 7):
        shelf.take(shelf.check(*expo_set(CONTRACT, version, seed=version), TRIAL))
    assert method.version == 2 and shelf.versions == [2, 5, 6, 7] and len(shelf.versions) == KEEP
    with pytest.raises(ValueError, match=r"version 3 is not here.*\[2, 5, 6, 7\]"):
        shelf.pin(3)
    shelf.pin(0)
    assert method.version == 7 and shelf.pinned == 0


def test_when_nothing_was_accepted_expect_nothing_to_pin() -> None:
    shelf = WeightStore(ExpoPolicy(), "expo")
    with pytest.raises(ValueError, match="version 1 is not here"):
        shelf.pin(1)
    shelf.pin(0)
    assert shelf.version == 0 and "plays the base" in shelf.description()


def test_when_a_set_was_overtaken_during_its_trial_expect_refusal() -> None:
    shelf = shelf_of(ExpoPolicy(), "expo", expo_set(CONTRACT, 1))
    slow = shelf.check(*expo_set(CONTRACT, 2), TRIAL)
    shelf.take(shelf.check(*expo_set(CONTRACT, 3), TRIAL))
    with pytest.raises(WeightsError, match="not newer"):
        shelf.take(slow)
    assert shelf.version == 3


def test_when_another_run_is_asked_for_expect_only_that_one() -> None:
    shelf = WeightStore(ExpoPolicy(), "expo", run="wanted")
    with pytest.raises(WeightsError, match="'run'"):
        shelf.check(*expo_set(CONTRACT), TRIAL)
    shelf.take(shelf.check(*expo_set(CONTRACT, run="wanted"), TRIAL))
    assert shelf.holds(expo_set(CONTRACT, run="wanted")[0])


def noise_of(method: DsrlPolicy, number: int, tuning: RuntimeConfig = ALL) -> np.ndarray:
    given = situation(number)
    return steer(method, given.features, given.noise.shape, given.seed, given.sequence, tuning)


def test_when_noise_has_no_policy_yet_expect_what_the_vla_would_have_drawn() -> None:
    method = DsrlPolicy()
    assert isinstance(method, NoisePolicy)
    assert np.array_equal(noise_of(method, 4), gaussian((4, 16, 7), 3, 4))
    assert decide(method, situation(4, steered=True), ALL).source == ChunkSource.BASE


def test_when_weights_come_between_noise_and_proposal_expect_the_version_that_drew_it() -> None:
    method = DsrlPolicy()
    shelf = shelf_of(method, "dsrl", dsrl_set(CONTRACT, 1))
    first = noise_of(method, 0)
    shelf.take(shelf.check(*dsrl_set(CONTRACT, 2, seed=5), TRIAL))
    assert decide(method, situation(0, steered=True), ALL).policy_version == 1
    second = noise_of(method, 1)
    choice = decide(method, situation(1, steered=True), ALL)
    assert (choice.policy_version, choice.source, choice.candidate) == (2, ChunkSource.NOISE_STEERED, 0)
    assert not np.array_equal(first, second) and np.abs(second).max() <= 1.5 * 2**0.5 + 1e-6
    late = decide(method, situation(1, steered=False), ALL)
    assert (late.policy_version, late.source) == (0, ChunkSource.BASE)


def test_when_noise_is_repeated_expect_the_same_and_without_exploring_the_mode_first() -> None:
    one, other = DsrlPolicy(), DsrlPolicy()
    for method in (one, other):
        shelf_of(method, "dsrl", dsrl_set(CONTRACT, 1))
    assert np.array_equal(noise_of(one, 3), noise_of(other, 3))
    calm = replace(ALL, explore=False)
    repeated = steer(one, situation(0).features, (2, 16, 7), 9, 1, calm)
    again = steer(one, situation(0).features, (2, 16, 7), 9, 2, calm)
    assert np.array_equal(repeated[0], again[0]) and not np.array_equal(repeated[1], again[1])


@pytest.mark.row(29)
@pytest.mark.parametrize(
    "changes", [{"features": 3}, {"horizon": 8}, {"noise_dim": 8}, {"features": 73}], ids=lambda c: next(iter(c))
)
def test_when_a_noise_policy_does_not_suit_the_robot_expect_refusal(changes: dict[str, int]) -> None:
    with pytest.raises(WeightsError) as caught:
        shelf_of(DsrlPolicy(), "dsrl", dsrl_set(CONTRACT, config=dsrl_config(CONTRACT, **changes)))
    assert caught.value.reason == "shape"
