# SPDX-License-Identifier: Apache-2.0
"""From uint8 images and words to the tensors PI0 wants.

Legend: B batch, K cameras, S image size, L tokens per image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vla_policy.core.architecture import PocketShape
from vla_policy.core.tokenizer import IMAGE, WordTokenizer


def pixels_from_uint8(images: Tensor) -> Tensor:
    """uint8 [B, K, S, S, 3] -> float32 [B, K, 3, S, S] in [-1, 1], as SigLIP takes them."""
    return images.permute(0, 1, 4, 2, 3).float() / 127.5 - 1.0


def prompt_ids(tokenizer: WordTokenizer, texts: Sequence[str], shape: PocketShape, cameras: int) -> Tensor:
    """int64 [len(texts), cameras * L + prompt]: image placeholders, then the words."""
    per_image = (shape.image_size_px // shape.patch_size_px) ** 2
    rows = [[IMAGE] * (per_image * cameras) + tokenizer.encode(text) for text in texts]
    return torch.tensor(rows, dtype=torch.long)
