# SPDX-License-Identifier: Apache-2.0
"""The contract of the served policy, as the arm sees it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes.arm_world import ArmWorld, contract_for, panda
from robot_bringup.core.served_contract import ServedContract
from whetstone_common.core.contract import NO_CONTRACT
from whetstone_common.core.reason import Reason, ReasonedError


def test_when_nothing_is_served_expect_that_as_the_problem_and_none_for_a_contract_that_fits():
    robot = panda()
    served = ServedContract(robot)
    assert served.problem() == NO_CONTRACT
    served.replace(contract_for(robot))
    assert served.problem() == ""
    served.replace(replace(contract_for(robot), joint_names=("other",)))
    assert served.problem().startswith("the policy does not fit the robot: ")


def test_when_another_contract_comes_expect_the_one_before_and_nothing_for_the_same():
    robot = panda()
    served, first = ServedContract(robot), contract_for(robot)
    assert served.replace(first) is None
    assert served.replace(contract_for(robot)) is None
    assert served.replace(contract_for(robot, horizon=8)) is first


def test_when_somebody_expects_another_hash_expect_both_named():
    robot = panda()
    served, contract = ServedContract(robot), contract_for(robot)
    served.replace(contract)
    assert served.mismatch("") == served.mismatch(contract.hash()) == ""
    assert served.mismatch("abc") == f"contract_hash is {contract.hash()}, expected abc"


def test_when_a_chunk_is_of_another_contract_expect_it_refused():
    world = ArmWorld().running()
    world.step()
    chunk, served = world.chunk(), ServedContract(world.robot)
    served.replace(world.contract)
    served.check(chunk)
    with pytest.raises(ReasonedError, match="contract_hash is abc") as error:
        served.check(replace(chunk, contract_hash="abc"))
    assert error.value.reason is Reason.CONTRACT_MISMATCH
