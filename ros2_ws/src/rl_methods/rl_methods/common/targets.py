# SPDX-License-Identifier: Apache-2.0
"""What a critic is fitted to: a backup, or the Monte-Carlo return where it is known.

Legend: B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rl_methods.common.batch import Batch


def backup(batch: Batch, after: Tensor) -> Tensor:
    """R + gamma^C M V, [B], of the value [B] of what follows each window (Q-chunking, arXiv 2507.07969)."""
    return batch.reward + batch.discount * batch.mask * after


def with_returns(batch: Batch, target: Tensor, share: float) -> Tensor:
    """`target` [B], of which `share` is the Monte-Carlo return in the rows where it is known."""
    known = torch.isfinite(batch.mc_return)
    return torch.where(known, torch.lerp(target, batch.mc_return.nan_to_num(0.0), share), target)
