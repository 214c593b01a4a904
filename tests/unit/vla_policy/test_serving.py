# SPDX-License-Identifier: Apache-2.0
"""Around a backend: seeds, shapes and finiteness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vla_policy.core.backends.fake import FakeBackend, FakeScript, fake_spec
from vla_policy.core.protocol import Observation
from vla_policy.core.serving import (
    ModelError,
    checked_chunks,
    checked_features,
    contract_of,
    draw_noise,
    merge_noise,
    version_of,
    weights_sha256,
)  # fmt: skip

SPEC = fake_spec()
JOINTS = (*(f"joint{i}" for i in range(7)), "gripper")
SEEN = Observation(
    images={name: np.zeros((96, 96, 3), np.uint8) for name in SPEC.cameras},
    proprio=np.zeros(10, np.float32),
    instruction="do nothing",
)


def test_when_seed_and_sequence_are_the_same_expect_the_same_noise_for_any_number() -> None:
    one, eight = draw_noise(1, SPEC, 5, 2), draw_noise(8, SPEC, 5, 2)
    assert (one[0] == eight[0]).all() and eight.shape == (8, 16, 7) and eight.dtype == np.float32


@pytest.mark.parametrize(("seed", "sequence"), [(5, 3), (6, 2), (2, 5)])
def test_when_seed_or_sequence_differ_expect_other_noise(seed: int, sequence: int) -> None:
    assert not (draw_noise(1, SPEC, 5, 2) == draw_noise(1, SPEC, seed, sequence)).any()


def test_when_noise_is_steered_expect_only_the_actions_replaced() -> None:
    gaussian = np.ones((2, 16, 32), np.float32)
    merged = merge_noise(np.zeros((2, 16, 7), np.float32), gaussian)
    assert (merged[:, :, :7] == 0).all() and (merged[:, :, 7:] == 1).all() and (gaussian == 1).all()


@pytest.mark.parametrize("fault", ["nan", "inf", "wrong_dims", "wrong_horizon"])
def test_when_the_model_returns_what_must_not_be_played_expect_an_error(fault: str) -> None:
    backend = FakeBackend(script=FakeScript(fault=fault))
    with pytest.raises(ModelError, match="chunks"):
        checked_chunks(backend, backend.prefix(SEEN), draw_noise(3, SPEC, 0, 0))


def test_when_the_model_is_good_expect_its_chunks_and_features() -> None:
    backend = FakeBackend(script=FakeScript(pattern="noise"))
    noise = draw_noise(3, SPEC, 0, 0)
    assert (checked_chunks(backend, backend.prefix(SEEN), noise) == noise).all()
    assert checked_features(backend, SEEN).shape == (74,)


def test_when_policy_and_robot_fit_expect_a_contract_with_their_names() -> None:
    contract = contract_of(SPEC, JOINTS, "ab")
    assert contract.joint_names == JOINTS and contract.action_dim == 7 and contract.proprio_dim == 10


@pytest.mark.parametrize(
    ("changes", "field"), [({"action_dim": 6}, "action_dim"), ({"proprio_dim": 9}, "proprio_dim"),
                           ({"action_space": "joint"}, "action_dim")]
)  # fmt: skip
def test_when_policy_and_robot_do_not_fit_expect_the_field_named(changes: dict, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        contract_of(fake_spec(**changes), JOINTS, "")


def test_when_weights_change_expect_another_hash(tmp_path: Path) -> None:
    assert weights_sha256(tmp_path) == "" and version_of("") == 0
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = weights_sha256(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert first != weights_sha256(tmp_path) and 0 < version_of(first) < 2**64
