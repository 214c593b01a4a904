# SPDX-License-Identifier: Apache-2.0
"""The contract of the policy that is served, as the arm sees it."""

from __future__ import annotations

from robot_bringup.core.chunk import Chunk, check_chunk
from whetstone_common.core.contract import NO_CONTRACT, Contract
from whetstone_common.core.robot import Robot


class ServedContract:
    """The newest contract, and whether this robot can follow it.

    Args:
        robot: The robot.
    """

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._hash = ""
        self.newest: Contract | None = None

    def replace(self, contract: Contract) -> Contract | None:
        """Take the contract that is served now; return the one before when there was another one."""
        digest = contract.hash()
        if digest == self._hash:
            return None
        old, self.newest, self._hash = self.newest, contract, digest
        return old

    def problem(self) -> str:
        """Why the arm cannot be armed for it; empty when it can."""
        if self.newest is None:
            return NO_CONTRACT
        problems = self._robot.contract_problems(self.newest)
        return "the policy does not fit the robot: " + "; ".join(problems) if problems else ""

    def mismatch(self, expected_hash: str) -> str:
        """How its hash differs from the one that somebody expects, in words; empty when it does not, or for no hash."""
        if not expected_hash or expected_hash == self._hash:
            return ""
        return f"contract_hash is {self._hash}, expected {expected_hash}"

    def check(self, chunk: Chunk) -> None:
        """Refuse a chunk whose content does not fit; before the first contract there is nothing to compare with.

        Raises:
            ReasonedError: CONTRACT_MISMATCH, NOT_FINITE or BAD_MESSAGE, with the field in the text.
        """
        assert self.newest is not None  # noqa: S101 - a chunk plays on an arm that was armed for a contract
        check_chunk(chunk, self.newest, self._hash, len(self._robot.joints))
