# SPDX-License-Identifier: Apache-2.0
"""Messages and plain data mean the same, whatever comes off the wire."""

from __future__ import annotations

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from vla_interfaces.msg import Decision, NodeStatus, PolicyContract

from harness.ring import contract
from rl_methods.base import ChunkSource
from whetstone_common.core.reason import Reason, State
from whetstone_common.core.stamp import Stamp
from whetstone_common.nodes.convert import (
    bytes_field,
    float32_field,
    from_contract,
    from_stamp,
    shaped,
    to_contract,
    to_ns,
    to_stamp,
    to_time,
)


@pytest.mark.parametrize("ns", [0, 1, 999_999_999, 1_000_000_000, 1_795_302_335_508_636_298])
def test_when_a_time_goes_both_ways_expect_every_nanosecond(ns: int) -> None:
    assert to_ns(to_time(ns)) == ns and isinstance(to_time(ns), Time)


def test_when_a_stamp_goes_both_ways_expect_it_unchanged() -> None:
    stamp = Stamp(2**63, 7, 8, 9, 1_795_302_335_508_636_298)
    assert to_stamp(from_stamp(stamp)) == stamp


def test_when_a_contract_goes_both_ways_expect_it_and_its_hash_unchanged() -> None:
    there = from_contract(contract())
    assert to_contract(there) == contract() and there.contract_hash == contract().hash()


@pytest.mark.parametrize(
    ("name", "value"),
    [("horizon", 8), ("dt_s", 0.1), ("cameras", ["front"]), ("contract_hash", ""), ("dt_s", float("nan"))],
)
def test_when_a_contract_was_changed_on_the_way_expect_refusal(name: str, value: object) -> None:
    msg = from_contract(contract())
    setattr(msg, name, value)
    with pytest.raises(ValueError, match=r"hash|dt_s"):
        to_contract(msg)


def test_when_a_contract_is_empty_expect_refusal() -> None:
    with pytest.raises(ValueError, match="action_space"):
        to_contract(PolicyContract())


@pytest.mark.parametrize("shape", [(2**32 - 1, 2**32 - 1, 7), (0,), (3,), (2, 2, 2)])
def test_when_the_announced_shape_does_not_fit_expect_refusal_without_an_allocation(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="announced"):
        shaped(float32_field(np.zeros(4)), *shape)


def test_when_fields_are_filled_expect_the_types_that_messages_take_as_they_are() -> None:
    assert float32_field([1.0, 2.5]).typecode == "f" and list(float32_field([[1.0], [2.5]])) == [1.0, 2.5]
    assert bytes_field(np.array([[1, 255]], np.uint8)).typecode == "B"


def test_when_states_reasons_and_kinds_are_named_expect_the_numbers_of_the_messages() -> None:
    for member in (*State, *Reason):
        assert getattr(NodeStatus, member.name) == member
    for kind in ChunkSource:
        assert getattr(Decision, kind.name) == kind
