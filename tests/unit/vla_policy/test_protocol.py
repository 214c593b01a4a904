# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from vla_policy.core.backends.fake import fake_spec
from vla_policy.core.protocol import Observation, ObservationError

SPEC = fake_spec(image_size_px=8)


def an_observation(**changes):
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    fields = {"images": {"front": image, "wrist": image}, "proprio": np.zeros(10, np.float32), "instruction": "go"}
    return Observation(**(fields | changes))


def test_when_any_field_differs_expect_another_contract_hash():
    changes = {"horizon": 8, "dt_s": 0.1, "model_id": "b", "action_offset": (0.1,) * 7, "cameras": ("wrist", "front")}
    hashes = {replace(SPEC, **{k: v}).contract_hash() for k, v in changes.items()}
    assert len(hashes | {SPEC.contract_hash()}) == len(changes) + 1
    assert replace(SPEC).contract_hash() == SPEC.contract_hash()


@pytest.mark.parametrize(
    "change",
    [
        {"action_space": "torque"},
        {"cameras": ()},
        {"cameras": ("front", "front")},
        {"horizon": 0},
        {"dt_s": float("nan")},
        {"dt_s": 0.0},
        {"noise_dim": 3},
        {"action_scale": (1.0,)},
        {"action_scale": (0.0,) * 7},
        {"action_offset": (float("nan"),) * 7},
    ],
)
def test_when_a_specification_contradicts_itself_expect_refusal(change):
    with pytest.raises(ValueError):  # noqa: PT011
        replace(SPEC, **change)


def test_when_actions_are_normalised_and_back_expect_the_same():
    spec = replace(SPEC, action_scale=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), action_offset=(1.0,) * 7)
    chunk = np.random.default_rng(0).standard_normal((2, 16, 7)).astype(np.float32)
    assert np.allclose(spec.denormalise(spec.normalise(chunk)), chunk, atol=1e-6)


def test_when_an_observation_fits_expect_no_complaint():
    SPEC.check(an_observation())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": {"front": np.zeros((8, 8, 3), np.uint8)}}, "wrist"),
        ({"images": dict.fromkeys(("front", "wrist"), np.zeros((9, 8, 3), np.uint8))}, "front"),
        ({"images": dict.fromkeys(("front", "wrist"), np.zeros((8, 8, 3), np.float32))}, "float32"),
        ({"proprio": np.zeros(9, np.float32)}, "proprio"),
        ({"proprio": np.full(10, np.nan, np.float32)}, "finite"),
    ],
)
def test_when_an_observation_does_not_fit_expect_it_named(change, words):
    with pytest.raises(ObservationError, match=words):
        SPEC.check(an_observation(**change))


@pytest.mark.parametrize("shape", [(16, 7), (0, 16, 7), (1, 15, 7), (1, 16, 8)])
def test_when_noise_has_another_shape_expect_refusal(shape):
    with pytest.raises(ObservationError):
        SPEC.check_noise(np.zeros(shape, np.float32))


def test_when_noise_is_not_finite_expect_refusal():
    with pytest.raises(ObservationError, match="finite"):
        SPEC.check_noise(np.full((1, 16, 7), np.inf, np.float32))
