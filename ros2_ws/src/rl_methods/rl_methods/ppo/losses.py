# SPDX-License-Identifier: Apache-2.0
"""The losses of PPO (Schulman et al. 2017, arXiv 1707.06347), with the dual clip of Ye et al. (1912.09729, eq. 5).

Legend: B chunks.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def policy_loss(log_ratio: Tensor, advantages: Tensor, clip: float, dual_clip: float) -> Tensor:
    """Clipped surrogate, to be descended.

    Args:
        log_ratio: [B], new minus old log-likelihood.
        advantages: [B].
        clip: Of the ratio, around 1.
        dual_clip: Where the advantage is negative, the ratio counts up to this.
    """
    ratio = log_ratio.exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1.0 - clip, 1.0 + clip) * advantages)
    bounded = torch.where(advantages < 0.0, torch.maximum(surrogate, dual_clip * advantages), surrogate)
    return -bounded.mean()


def value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float, huber: float) -> Tensor:
    """The larger of the errors of a value and of the same value held near the old one; all [B]."""
    near = old + (values - old).clamp(-clip, clip)
    errors = [F.huber_loss(v, returns, reduction="none", delta=huber) for v in (values, near)]
    return torch.maximum(*errors).mean()


def ratio_metrics(log_ratio: Tensor, clip: float) -> dict[str, float]:
    """How far the policy has moved: approximate KL divergence (Schulman's k3) and share of clipped ratios."""
    ratio = log_ratio.detach().exp()
    clipped = (ratio - 1.0).abs() > clip
    return {
        "approximate_kl": float((ratio - 1.0 - log_ratio.detach()).mean()),
        "clip_fraction": float(clipped.float().mean()),
    }
