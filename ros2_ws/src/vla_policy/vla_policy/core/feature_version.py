# SPDX-License-Identifier: Apache-2.0
"""Which training a model's features come from, as its manifest and its contract name it.

Features of the same length from another training mean something else to the small policies beside the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FEATURE_VERSION = "feature_version"
_DIGITS = 16


def feature_version(tensors: Mapping[str, Tensor]) -> str:
    """Version of the features that these weights give: the start of their SHA-256 (hex)."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:_DIGITS]
