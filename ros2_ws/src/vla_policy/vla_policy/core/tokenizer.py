# SPDX-License-Identifier: Apache-2.0
"""A word-level tokenizer whose whole vocabulary is one small JSON file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from whetstone_common.core.foreign import Name, StrictModel, read_json, shortened

SPECIAL = ("<pad>", "<bos>", "<unk>", "<object>", "<goal>", "<image>")
PAD, BOS, UNKNOWN, OBJECT, GOAL, IMAGE = range(len(SPECIAL))
READOUTS = (OBJECT, GOAL)
_WORD = re.compile(r"[a-z0-9]+")
# Between words; anything else would be cut off without a word.
_BETWEEN = re.compile(r"[\s!-/:-@\[-`{-~]+")


class VocabularyError(ValueError):
    """A vocab.json that cannot be used; the text names file and key."""


class _Vocabulary(StrictModel):
    kind: Literal["words"]
    max_words: Annotated[int, Field(ge=1)]
    words: list[Name]

    @model_validator(mode="after")
    def _check(self) -> _Vocabulary:
        if len(set(self.words)) != len(self.words):
            raise ValueError("words lists a word twice")
        return self


@dataclass(frozen=True)
class WordTokenizer:
    """Words to ids.

    The two readout tokens close every prompt, at fixed places: the detection targets are read from them, and the
    action expert finds the instructed object and goal there.

    Attributes:
        words: known words; the id of words[i] is i + len(SPECIAL).
        max_words: words beyond this are refused rather than cut.
    """

    words: tuple[str, ...]
    max_words: int = 12

    @property
    def vocab_size(self) -> int:
        """Number of ids, special ones included."""
        return len(SPECIAL) + len(self.words)

    @property
    def prompt_length(self) -> int:
        """Tokens of every prompt without the image tokens."""
        return 1 + self.max_words + len(READOUTS)

    def encode(self, text: str) -> list[int]:
        """Ids of `<bos> words... <pad>... <object> <goal>`; an unknown word becomes `<unk>`.

        Raises:
            ValueError: more than `max_words` words, no known word, or characters that are in no word.
        """
        found = _words(text)
        if len(found) > self.max_words:
            raise ValueError(f"instruction has {len(found)} words, at most {self.max_words}: {shortened(text)!r}")
        index = {word: i + len(SPECIAL) for i, word in enumerate(self.words)}
        ids = [index.get(word, UNKNOWN) for word in found]
        if set(ids) <= {UNKNOWN}:
            raise ValueError(f"instruction has no word that this model knows: {text!r}")
        return [BOS, *ids, *[PAD] * (self.max_words - len(ids)), *READOUTS]

    def save(self, path: Path) -> None:
        """Writes the vocabulary."""
        body = {"kind": "words", "max_words": self.max_words, "words": list(self.words)}
        path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> WordTokenizer:
        """Reads what `save` wrote.

        Raises:
            VocabularyError: the file is not such a vocabulary.
        """
        body = read_json(path, _Vocabulary, VocabularyError)
        return cls(words=tuple(body.words), max_words=body.max_words)

    @classmethod
    def from_texts(cls, texts: Iterable[str], max_words: int = 12) -> WordTokenizer:
        """Vocabulary of the words in `texts`, sorted."""
        return cls(words=tuple(sorted({w for text in texts for w in _words(text)})), max_words=max_words)


def _words(text: str) -> list[str]:
    """Words in lower case; ValueError when there are characters that belong to none."""
    lower = text.lower()
    if left := _BETWEEN.sub("", _WORD.sub("", lower)):
        raise ValueError(f"instruction has characters that this model cannot read: {left[:20]!r} in {text!r}")
    return _WORD.findall(lower)
