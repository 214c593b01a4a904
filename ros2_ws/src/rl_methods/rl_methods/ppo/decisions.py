# SPDX-License-Identifier: Apache-2.0
"""What an iteration's episodes leave for learning: one row per decision, whole episodes one after the other.

Legend: T decisions, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rl_methods.common.flow_policy import FlowContext
from rl_methods.ppo.chains import Chains, mean_of_played


@dataclass(frozen=True, eq=False)
class Decisions:
    """As they were made.

    Attributes:
        context: What the policy saw, T observations.
        chains: How it came to each chunk.
        executed: int64 [T] steps of each chunk that were played.
        rewards: [T] sum over them.
        last: bool [T] whether the episode ended with it.
        terminal: bool [T] whether nothing follows that could be worth anything.
        next_features: [T, F] at the end of each chunk; anything where it is terminal.
    """

    context: FlowContext
    chains: Chains
    executed: Tensor
    rewards: Tensor
    last: Tensor
    terminal: Tensor
    next_features: Tensor

    def __len__(self) -> int:
        """T."""
        return len(self.rewards)

    def check(self) -> None:
        """Refuse what must not be learnt from.

        Raises:
            ValueError: There is none, a reward is not finite, or the last one does not end an episode.
        """
        if not len(self):
            raise ValueError("no decision: nothing to learn from; play at least one episode")
        if not bool(torch.isfinite(self.rewards).all()):
            row = int((~torch.isfinite(self.rewards)).nonzero()[0])
            raise ValueError(f"the reward of decision {row} is {float(self.rewards[row])}, must be finite")
        if not bool(self.last[-1]):
            raise ValueError("the last episode has no end: only whole episodes can be learnt from")


@dataclass(frozen=True, eq=False)
class Rated:
    """Decisions with what PPO compares them with; all [T].

    Attributes:
        decisions: As made.
        log_prob: By the policy that made them.
        values: By the critic of then.
        advantages: Normalised.
        returns: What values should be.
    """

    decisions: Decisions
    log_prob: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


def log_prob_of(decisions: Decisions) -> Tensor:
    """[T] of the chunks as far as they were played, by the policy that made them."""
    return mean_of_played(decisions.chains.density, decisions.executed)
