# SPDX-License-Identifier: Apache-2.0
"""The published prompt, and where the tokenizer's files are.

A LeRobot checkpoint names its tokenizer on the hub and does not hold it, so a robot without a network needs a copy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer, PI0Config

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.prompter import Prompt
from vla_policy.core.protocol import ObservationError
from vla_policy.core.published.detect import hub_answers
from vla_policy.core.published.directory import PALIGEMMA, PROMPT_LENGTH
from whetstone_common.core.foreign import shortened

_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")


class PublishedPrompter:
    """Image placeholders, `<bos>`, words and a line break, padded to a fixed length."""

    def __init__(self, tokenizer: Any, config: PI0Config, cameras: int, length: int = PROMPT_LENGTH) -> None:
        """Takes a loaded tokenizer.

        Args:
            tokenizer: Of transformers.
            config: Of the network.
            cameras: Images that the model is shown.
            length: Tokens that a prompt is padded to.
        """
        self.tokenizer, self._length = tokenizer, length
        vision = config.vlm_config.vision_config
        per_image = (vision.image_size // vision.patch_size) ** 2
        self._images = [int(config.vlm_config.image_token_id)] * (per_image * cameras)

    def __call__(self, instruction: str) -> Prompt:
        """Ids and mask, [1, S]."""
        words = self.tokenizer(f"{instruction.rstrip(chr(10))}\n", add_special_tokens=False)["input_ids"]
        bos = self.tokenizer.bos_token_id
        prompt = ([bos] if bos is not None else []) + list(words)
        if len(prompt) > self._length:
            raise ObservationError(f"instruction has {len(prompt)} tokens, at most {self._length}")
        padding = self._length - len(prompt)
        ids = self._images + prompt + [int(self.tokenizer.pad_token_id or 0)] * padding
        mask = [1] * (len(ids) - padding) + [0] * padding
        return np.array([ids], np.int64), np.array([mask], np.int64)


def published_prompter(
    directory: Path,
    config: PI0Config,
    cameras: int,
    *,
    named: str = "",
    hub_name: str = PALIGEMMA,
    length: int = PROMPT_LENGTH,
) -> PublishedPrompter:
    """Of a checkpoint; `named` and `hub_name` are as in `load_tokenizer`, `length` as in `PublishedPrompter`.

    Raises:
        CheckpointError: Its tokenizer cannot be used.
    """
    tokenizer = load_tokenizer(directory, named, hub_name, int(config.vlm_config.text_config.vocab_size))
    return PublishedPrompter(tokenizer, config, cameras, length)


def tokenizer_source(directory: Path, named: str, hub_name: str) -> tuple[str, bool]:
    """Folder or name to load the tokenizer from, and whether it is a folder.

    Args:
        directory: The checkpoint.
        named: Folder that the mapping file names, from the checkpoint on; empty for none.
        hub_name: What the checkpoint calls it on the hub.
    """
    if named:
        return str(directory / Path(named).expanduser()), True
    if any((directory / name).is_file() for name in _FILES):
        return str(directory), True
    return hub_name, False


def load_tokenizer(directory: Path, named: str, hub_name: str, vocabulary: int) -> Any:
    """The tokenizer: from files, from the hub's cache, or from the hub where there is a network.

    Args:
        directory: The checkpoint.
        named: Folder that the mapping file names; empty for none.
        hub_name: Its name on the hub.
        vocabulary: Words that the model embeds.

    Raises:
        CheckpointError: It cannot be had, or knows more words than the model.
    """
    source, is_folder = tokenizer_source(directory, named, hub_name)
    try:
        tokenizer = _load(source, is_folder=is_folder)
    except Exception as error:
        way = "" if is_folder else "; put its files into a folder and name that as tokenizer in the mapping"
        raise CheckpointError(f"tokenizer {source} cannot be loaded{way}: {shortened(error)}") from error
    most = max(tokenizer("\n", add_special_tokens=False)["input_ids"] + [tokenizer.bos_token_id or 0])
    if most >= vocabulary:
        raise CheckpointError(f"tokenizer {source} gives the id {most}, the model has {vocabulary}")
    return tokenizer


def _load(source: str, *, is_folder: bool) -> Any:
    try:
        return AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except Exception:
        if is_folder or not hub_answers():
            raise
    return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
