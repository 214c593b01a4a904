# SPDX-License-Identifier: Apache-2.0
"""New words for a model that is trained already: further rows of its embeddings, everything else as it was.

Legend: V words of the vocabulary, D width of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PI0Config, PI0ForConditionalGeneration

from vla_policy.core.architecture import build_model
from vla_policy.core.tokenizer import SPECIAL, WordTokenizer


def missing_words(tokenizer: WordTokenizer, words: Sequence[str]) -> tuple[str, ...]:
    """Those that the tokenizer would read as unknown."""
    return tuple(word for word in words if word not in tokenizer.words)


def extended(
    model: PI0ForConditionalGeneration, tokenizer: WordTokenizer, words: Sequence[str], seed: int
) -> tuple[PI0ForConditionalGeneration, WordTokenizer]:
    """A model and a tokenizer that know some words more.

    A new row is drawn with mean and deviation of the rows of the known words, so that it is a word like others to the
    layers behind, and unlike any other. Ids of the known words stay, and so does what the model makes of them.

    Args:
        model: Of a pocket directory.
        tokenizer: Its own.
        words: To be known; those that are known already are left alone.
        seed: Of the new rows.
    """
    new = missing_words(tokenizer, words)
    if not new:
        return model, tokenizer
    old, size = tokenizer.vocab_size, tokenizer.vocab_size + len(new)
    larger = build_model(PI0Config.from_dict(_resized(model.config.to_dict(), old, size)))
    larger.set_attn_implementation("eager")
    generator = torch.Generator().manual_seed(seed)
    wanted = larger.state_dict()
    tensors = {
        name: value if value.shape == wanted[name].shape else _with_rows(value, len(new), generator)
        for name, value in model.state_dict().items()
    }
    larger.load_state_dict(tensors, strict=True)
    return larger.eval(), replace(tokenizer, words=(*tokenizer.words, *new))


def _with_rows(table: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """[V, D] -> [V + count, D]."""
    known = table[len(SPECIAL) :].float()
    rows = known.mean(0) + known.std(0) * torch.randn(count, table.shape[1], generator=generator)
    return torch.cat([table, rows.to(table.dtype)])


def _resized(config: dict[str, Any], old: int, size: int) -> dict[str, Any]:
    """A configuration with another size of the vocabulary, wherever it stands."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            out[key] = _resized(value, old, size)
        else:
            out[key] = size if key == "vocab_size" and value == old else value
    return out
