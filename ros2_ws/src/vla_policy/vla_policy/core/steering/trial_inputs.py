# SPDX-License-Identifier: Apache-2.0
"""What new weights are tried on before they may decide."""

from __future__ import annotations

from rl_methods.base import PolicyInput, ValidationContext
from rl_methods.common.probes import probes
from whetstone_common.core.contract import Contract


class TrialInputs:
    """Fixed probes of the contract, and the input of the newest decision.

    Attributes:
        last: Input of the newest decision, None before the first.
    """

    def __init__(self) -> None:
        """No contract yet."""
        self._probes: list[PolicyInput] = []
        self.last: PolicyInput | None = None

    def bind(self, contract: Contract) -> bool:
        """Make the probes of a contract; returns whether it is the first one."""
        is_first = not self._probes
        if is_first:
            self._probes = probes(contract)
        return is_first

    def context(self, contract: Contract | None, edit_limit: float) -> ValidationContext | None:
        """What to try a set on now, None while there is no contract; called by another thread too.

        Args:
            contract: That is bound.
            edit_limit: Largest edit that weights may make.
        """
        fixed, last = self._probes, self.last
        if contract is None or not fixed:
            return None
        return ValidationContext(contract, [*fixed, *([] if last is None else [last])], edit_limit)
