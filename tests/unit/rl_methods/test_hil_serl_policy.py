# SPDX-License-Identifier: Apache-2.0
"""HIL-SERL's actor half: chunks of its own, nothing without weights, and weights that it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fakes.hil_serl import actor_config, actor_set
from fakes.policy_sets import packed
from harness.ring import contract
from rl_methods.base import ChunkSource, LearnedPolicy, PolicyInput, RuntimeConfig, ValidationContext
from rl_methods.common.architecture import architecture_of
from rl_methods.common.probes import probes
from rl_methods.common.weights import WeightsError
from rl_methods.hil_serl.policy import HilSerlPolicy
from vla_policy.core.steering.decide import decide
from vla_policy.core.steering.weight_store import WeightStore

CONTRACT = replace(contract(), action_scale=(0.5,) * 7, action_offset=(0.25,) * 7)
TRIAL = ValidationContext(CONTRACT, probes(CONTRACT), 2.0)
CALM, CURIOUS = RuntimeConfig(explore=False), RuntimeConfig(explore=True)


def given(number: int = 0, *, opening: float = 1.0, **changes: Any) -> PolicyInput:
    made = probes(CONTRACT)[1]
    proprio = np.array([0.1] * 9 + [opening], np.float32)
    return replace(made, proprio=proprio, sequence=number, **changes)


def policy(**changes: Any) -> HilSerlPolicy:
    method = HilSerlPolicy()
    store = WeightStore(method, "hil_serl")
    store.take(store.check(*actor_set(CONTRACT, **changes), TRIAL))
    return method


def test_when_there_are_no_weights_expect_that_nothing_is_played_in_their_place() -> None:
    method = HilSerlPolicy()
    assert isinstance(method, LearnedPolicy) and method.version == 0
    with pytest.raises(RuntimeError, match="the VLA does not play"):
        decide(method, given(), CALM)
    assert "plays nothing" in WeightStore(method, "hil_serl").description()


def test_when_weights_decide_expect_a_chunk_of_their_own_within_the_bound() -> None:
    choice = decide(policy(), given(), CURIOUS)
    assert (choice.candidate, choice.source, choice.policy_version) == (-1, ChunkSource.ACTOR, 1)
    assert choice.chunk.shape == (CONTRACT.horizon, 7)
    assert np.abs(choice.chunk[:, :6]).max() <= 2.5
    assert all(np.array_equal(row, choice.chunk[3]) for row in choice.chunk[4:])
    assert set(np.round(choice.chunk[:, 6] * 0.5 + 0.25, 5)) <= {0.0, 1.0} and len(set(choice.chunk[:, 6])) == 1


def test_when_candidates_of_the_vla_change_expect_the_same_chunk() -> None:
    method, one = policy(), given()
    other = replace(one, candidates=one.candidates + 1.0, features=one.features + 1.0)
    assert np.array_equal(decide(method, one, CALM).chunk, decide(method, other, CALM).chunk)


def test_when_what_is_seen_or_felt_changes_expect_another_chunk() -> None:
    method, one = policy(), given()
    dark = replace(one, images=np.zeros_like(one.images))
    moved = replace(one, proprio=one.proprio + np.float32(0.3))
    chunks = [decide(method, each, CALM).chunk for each in (one, dark, moved)]
    assert not np.allclose(chunks[0], chunks[1]) and not np.allclose(chunks[0], chunks[2])


def test_when_it_explores_expect_draws_that_the_request_determines_and_otherwise_the_mode() -> None:
    method = policy()
    first, again, later = (decide(method, given(number), CURIOUS).chunk for number in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, later)
    assert np.array_equal(decide(method, given(1), CALM).chunk, decide(method, given(2), CALM).chunk)


@pytest.mark.parametrize("steps", [1, 4])
def test_when_one_step_or_several_are_executed_expect_chunks_of_both(steps: int) -> None:
    chunk = decide(policy(steps=steps, knots=1), given(), CURIOUS).chunk
    assert chunk.shape == (CONTRACT.horizon, 7) and np.array_equal(chunk[steps - 1], chunk[-1])
    np.testing.assert_allclose(chunk[0, :6] * steps, chunk[-1, :6], rtol=1e-5)  # it begins where the hand is


@pytest.mark.row(29)
@pytest.mark.parametrize(
    "changes",
    [{"features": 74}, {"proprio": 9}, {"cameras": 1}, {"cameras": 0}, {"action_dim": 6}, {"steps": 17},
     {"gripper_open": 3.0}, {"gripper_closed": -3.0}],
    ids=lambda c: next(iter(c)),
)  # fmt: skip
def test_when_a_set_does_not_suit_the_robot_expect_refusal(changes: dict[str, Any]) -> None:
    with pytest.raises(WeightsError) as caught:
        policy(**changes)
    assert caught.value.reason == "shape"


@pytest.mark.row(29)
@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden", [10**9, 10**9]), ("encoder_outputs", 10**9), ("encoder_maps", 10**8), ("cameras", 10**9),
     ("image_size", 10**9), ("bound", -1.0), ("knots", 0), ("open_above", 2.0), ("unknown", 1), ("hidden", None)],
)  # fmt: skip
def test_when_an_architecture_is_absurd_expect_refusal_without_the_memory_being_taken(name: str, value: Any) -> None:
    architecture = architecture_of(actor_config(CONTRACT)) | {name: value}
    store, found = WeightStore(HilSerlPolicy(), "hil_serl"), packed(CONTRACT, {}, architecture, method="hil_serl")
    with pytest.raises(WeightsError):
        store.check(*found, TRIAL)


@pytest.mark.row(29)
def test_when_weights_that_see_get_no_images_on_trial_expect_refusal_that_says_what_to_set() -> None:
    blind = [replace(each, images=np.zeros(0, np.uint8)) for each in probes(CONTRACT)]
    store = WeightStore(HilSerlPolicy(), "hil_serl")
    with pytest.raises(WeightsError, match="encoder says features"):
        store.check(*actor_set(CONTRACT), ValidationContext(CONTRACT, blind, 2.0))
