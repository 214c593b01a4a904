# SPDX-License-Identifier: Apache-2.0
"""Row 21: two sides agree on every field, or the refusal names the one they do not agree on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from whetstone_common.core.contract import CARTESIAN_ACTIONS, CARTESIAN_PROPRIO, Contract, ContractBinding

BASE = Contract(
    action_space="cartesian",
    action_names=CARTESIAN_ACTIONS,
    action_scale=(0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.5),
    action_offset=(0.0,) * 7,
    proprio_names=CARTESIAN_PROPRIO,
    cameras=("front", "wrist"),
    image_height=96,
    image_width=96,
    horizon=16,
    feature_dim=74,
    dt_s=0.05,
    joint_names=(*(f"joint{i}" for i in range(7)), "gripper"),
    model_id="pocket",
)
CHANGES: dict[str, Any] = {
    "action_space": "joint",
    "action_names": (*CARTESIAN_ACTIONS[:-1], "hand"),
    "action_scale": (0.11, 0.1, 0.1, 0.2, 0.2, 0.2, 0.5),
    "action_offset": (0.0,) * 6 + (0.1,),
    "proprio_names": CARTESIAN_PROPRIO[::-1],
    "cameras": ("wrist", "front"),
    "image_height": 64,
    "image_width": 64,
    "horizon": 8,
    "feature_dim": 10,
    "dt_s": 0.1,
    "joint_names": (*(f"joint{i}" for i in range(7)), "fingers"),
    "readout_names": ("object_x_m", "held"),
    "feature_version": "809fdbe997a63df6",
}


@pytest.mark.parametrize("name", CHANGES)
def test_when_one_field_differs_expect_another_hash_and_the_field_named(name: str) -> None:
    other = replace(BASE, **{name: CHANGES[name]})
    assert other.hash() != BASE.hash()
    assert [line.split(":")[0] for line in BASE.differences(other)] == [name]
    book = ContractBinding()
    assert book.bind(BASE) == []
    assert book.bind(other)[0].startswith(name)
    assert book.refusal(other.hash()).startswith(name) and book.refusal(BASE.hash()) == ""


def test_when_only_the_weights_differ_expect_the_same_hash_and_their_name_kept_up_to_date() -> None:
    newer = replace(BASE, model_id="pocket-2", weights_sha256="ab")
    book = ContractBinding()
    book.bind(BASE)
    assert newer.hash() == BASE.hash() and book.bind(newer) == [] and book.bound is newer


def test_when_features_are_those_that_the_model_was_made_with_expect_the_hash_of_earlier_releases() -> None:
    fields = {name: value for name, value in asdict(BASE).items() if name not in ("model_id", "weights_sha256")}
    del fields["feature_version"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    assert BASE.hash() == hashlib.sha256(text.encode()).hexdigest()


def test_when_numbers_went_through_32_bits_expect_the_same_hash() -> None:
    once = replace(BASE, action_scale=tuple(0.1 + i / 3 for i in range(7)))
    assert replace(once, action_scale=once.action_scale).hash() == once.hash()


def test_when_a_hash_was_never_heard_of_expect_both_hashes_named() -> None:
    book = ContractBinding()
    assert "no policy_contract" in book.refusal("ab")
    book.bind(BASE)
    assert BASE.hash()[:12] in book.refusal("feedfacefeedface") and "feedface" in book.refusal("feedfacefeedface")
    assert "empty" in book.refusal("")


def test_when_many_foreign_contracts_come_expect_the_memory_bounded() -> None:
    book = ContractBinding(remember=3)
    book.bind(BASE)
    for horizon in range(1, 10):
        book.bind(replace(BASE, horizon=horizon))
    assert "horizon" in book.refusal(replace(BASE, horizon=9).hash())
    assert "contract_hash" in book.refusal(replace(BASE, horizon=1).hash())


def test_when_forgotten_expect_the_next_one_taken() -> None:
    book = ContractBinding()
    book.bind(BASE)
    book.forget()
    assert book.bind(replace(BASE, horizon=8)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("action_space", "torque"),
        ("action_names", ()),
        ("action_names", ("a",) * 7),
        ("action_scale", (1.0,) * 6),
        ("action_scale", (1.0,) * 6 + (0.0,)),
        ("action_scale", (1.0,) * 6 + (float("nan"),)),
        ("action_offset", (float("inf"),) * 7),
        ("cameras", ()),
        ("joint_names", ("a", "a")),
        ("horizon", 0),
        ("image_width", 0),
        ("feature_dim", 10**9),
        ("readout_names", ("held", "held")),
        ("readout_names", tuple(f"readout{i}" for i in range(75))),
        ("dt_s", 0.0),
        ("dt_s", float("nan")),
    ],
)
def test_when_a_contract_contradicts_itself_expect_the_field_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        replace(BASE, **{name: value})
