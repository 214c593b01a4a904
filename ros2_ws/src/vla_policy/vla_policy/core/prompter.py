# SPDX-License-Identifier: Apache-2.0
"""From an instruction to the token ids that a model is shown.

Legend: S prefix tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vla_policy.core.protocol import ObservationError
from vla_policy.core.tokenizer import IMAGE, WordTokenizer

Prompt: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64] | None]


class Prompter(Protocol):
    """Instruction -> token ids."""

    def __call__(self, instruction: str) -> Prompt:
        """Returns input_ids [1, S] and attention_mask [1, S], or None when nothing is padding."""
        ...


@dataclass(frozen=True)
class WordPrompter:
    """Image placeholders and the tokenizer's fixed-length prompt; nothing is masked."""

    tokenizer: WordTokenizer
    image_tokens: int

    def __call__(self, instruction: str) -> Prompt:
        """Ids [1, S]; raises ObservationError when there are too many words."""
        return np.array([_prompt(self, instruction)], dtype=np.int64), None


@lru_cache(maxsize=256)
def _prompt(prompter: WordPrompter, instruction: str) -> tuple[int, ...]:
    try:
        words = prompter.tokenizer.encode(instruction)
    except ValueError as error:
        raise ObservationError(str(error)) from error
    return (*[IMAGE] * prompter.image_tokens, *words)
