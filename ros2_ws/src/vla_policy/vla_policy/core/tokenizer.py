# SPDX-License-Identifier: Apache-2.0
"""A word-level tokenizer whose whole vocabulary is one small JSON file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from whetstone_common.core.foreign import shortened

SPECIAL = ("<pad>", "<bos>", "<unk>", "<object>", "<goal>", "<image>")
PAD, BOS, UNKNOWN, OBJECT, GOAL, IMAGE = range(len(SPECIAL))
READOUTS = (OBJECT, GOAL)
_WORD = re.compile(r"[a-z0-9]+")


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
            ValueError: more than `max_words` words.
        """
        found = _WORD.findall(text.lower())
        if len(found) > self.max_words:
            raise ValueError(f"instruction has {len(found)} words, at most {self.max_words}: {shortened(text)!r}")
        index = {word: i + len(SPECIAL) for i, word in enumerate(self.words)}
        ids = [index.get(word, UNKNOWN) for word in found]
        return [BOS, *ids, *[PAD] * (self.max_words - len(ids)), *READOUTS]

    def save(self, path: Path) -> None:
        """Writes the vocabulary."""
        body = {"kind": "words", "max_words": self.max_words, "words": list(self.words)}
        path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> WordTokenizer:
        """Reads what `save` wrote.

        Raises:
            ValueError: the file is not such a vocabulary.
        """
        body = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(body, dict) or body.get("kind") != "words":
            raise ValueError(f"{path} is not a word vocabulary")
        words = tuple(str(word) for word in body["words"])
        if len(set(words)) != len(words):
            raise ValueError(f"{path} lists a word twice")
        return cls(words=words, max_words=int(body["max_words"]))

    @classmethod
    def from_texts(cls, texts: Iterable[str], max_words: int = 12) -> WordTokenizer:
        """Vocabulary of the words in `texts`, sorted."""
        return cls(words=tuple(sorted({w for text in texts for w in _WORD.findall(text.lower())})), max_words=max_words)
