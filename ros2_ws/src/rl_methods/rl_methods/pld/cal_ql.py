# SPDX-License-Identifier: Apache-2.0
"""Calibrated conservative Q-learning (Nakamoto et al., arXiv 2303.05479; `conservative_sac.py` of its code).

Legend: E critics, B batch, S samples of each kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Sampled:
    """Actions of one kind: their values and log densities.

    Attributes:
        values: [E, B, S] at the window's start.
        log_density: [B, S], or a scalar, per unit of the action.
    """

    values: Tensor
    log_density: Tensor


def conservative_gap(data: Tensor, uniform: Sampled, policies: list[Sampled], mc_return: Tensor) -> Tensor:
    """How much higher other actions are valued than those of the data, [E, B].

    LSE over all samples of (value - log density), minus the value of the data. Samples of the policy at this state and
    of the policy at the next one are valued at least as high as the Monte-Carlo return of the data: there is nothing to
    push down below it. Uniform samples have no such floor.

    Args:
        data: [E, B] values of the executed chunks.
        uniform: Samples of the uniform distribution.
        policies: Samples of the policy, at this state and at the next.
        mc_return: [B] return of the data with the target's discount and rewards; NaN where it is not known: no floor.
    """
    floor = mc_return.nan_to_num(nan=-torch.inf)[:, None]  # [B, 1]
    terms = [uniform.values - uniform.log_density]
    terms += [sampled.values.maximum(floor) - sampled.log_density for sampled in policies]
    return torch.logsumexp(torch.cat(terms, dim=-1), dim=-1) - data
