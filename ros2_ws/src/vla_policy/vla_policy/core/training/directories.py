# SPDX-License-Identifier: Apache-2.0
"""Model directories made of others: with more words, or with more files and more to say."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends.pocket import load_pocket
from vla_policy.core.conditioning import KEY
from vla_policy.core.files import MANIFEST, read_manifest, write_manifest
from vla_policy.core.prompter import WordPrompter
from vla_policy.core.published.detect import is_pocket
from vla_policy.core.published.mapping import MAPPING_FILE
from vla_policy.core.tensor_files import read_tensors
from vla_policy.core.training.contrast import ContrastConfig, make_heard
from vla_policy.core.training.vocabulary import extended
from whetstone_common.core.outputs import new_folder

_LEAST_HEARD = 0.05


def check_pretrained(directory: Path) -> None:
    """Refuse a model that was trained with an indicator already: each iteration starts from the pre-trained weights.

    Raises:
        CheckpointError: It was.
    """
    if (directory / MANIFEST).is_file() and KEY in read_manifest(directory):
        raise CheckpointError(
            f"{directory} was trained with an indicator already: "
            "give the pre-trained model as base, so that errors of an iteration do not pile up"
        )


def add_words(source: Path, out: Path, words: Sequence[str], endings: tuple[str, str], seed: int = 0) -> Path:
    """A directory whose model knows some words; the source itself when it does already, or reads parts of words.

    Args:
        source: Pocket or published directory.
        out: Directory to make; it appears when it is whole.
        words: To be known.
        endings: Words behind an instruction that the action expert shall tell apart from the start.
        seed: Of the new rows of the embeddings.

    Raises:
        CheckpointError: The source cannot be used, or its action expert cannot be made to hear the words.
        FileExistsError: There is something of the new name.
    """
    if not is_pocket(source):
        return source
    parts, manifest = load_pocket(source), read_manifest(source)
    if not isinstance(parts.prompter, WordPrompter):
        raise CheckpointError(f"{source} reads its words from {type(parts.prompter).__name__}, expected vocab.json")
    model, tokenizer = extended(parts.model, parts.prompter.tokenizer, words, seed)
    if model is parts.model:
        return source
    prompter = replace(parts.prompter, tokenizer=tokenizer)
    rows = range(parts.prompter.tokenizer.vocab_size, tokenizer.vocab_size)
    heard = make_heard(replace(parts, model=model, prompter=prompter), endings, rows, ContrastConfig(seed=seed))
    if not heard >= _LEAST_HEARD:
        raise CheckpointError(
            f"{source}: the action expert's velocity differs by {heard:.1%} between {endings[0]!r} and {endings[1]!r}, "
            f"at least {_LEAST_HEARD:.0%} is needed: it would not learn to tell them apart"
        )
    dtypes = {name: tensor.dtype for name, tensor in read_tensors(source / "model.safetensors").items()}
    tensors = {
        name: value.to(dtypes[name]).contiguous() for name, value in model.state_dict().items() if name in dtypes
    }
    with new_folder(out) as unfinished:
        for name in manifest["files"]:
            shutil.copyfile(source / name, unfinished / name)
        save_file(tensors, unfinished / "model.safetensors")
        tokenizer.save(unfinished / "vocab.json")
        config = json.dumps(model.config.to_dict(), indent=1, sort_keys=True) + "\n"
        (unfinished / "config.json").write_text(config, encoding="utf-8")
        entries = {name: value for name, value in manifest.items() if name != "files"}
        write_manifest(unfinished, manifest["files"], entries | {"words_heard": round(heard, 4)})
    return out


def sealed_with(
    source: Path, out: Path, tensors: Mapping[str, Mapping[str, Tensor]], entries: Mapping[str, Any]
) -> Path:
    """A directory like another, with more tensor files and more entries in its manifest.

    Args:
        source: Model directory; its files are linked rather than copied where the disk can do that. Of one without a
            manifest all are sealed but those in folders, and the mapping file, which an operator may change.
        out: Directory to make; it appears when it is whole.
        tensors: Tensors by name, by name of the file; they replace files of the same name.
        entries: Of the manifest; they replace those of the same name.

    Raises:
        CheckpointError: The source is sealed, and not whole.
        FileExistsError: There is something of the new name.
    """
    manifest = read_manifest(source) if (source / MANIFEST).is_file() else {"files": _sealable(source)}
    files = [name for name in manifest.pop("files") if name not in tensors]
    with new_folder(out) as unfinished:
        for name in files:
            _link(source / name, unfinished / name)
        for folder in (path for path in source.iterdir() if path.is_dir() and _is_shown(path)):
            shutil.copytree(folder, unfinished / folder.name, copy_function=_link)
        if (source / MAPPING_FILE).is_file() and MAPPING_FILE not in files:
            shutil.copyfile(source / MAPPING_FILE, unfinished / MAPPING_FILE)
        for name, content in tensors.items():
            save_file({key: value.contiguous() for key, value in content.items()}, unfinished / name)
        write_manifest(unfinished, [*files, *tensors], manifest | dict(entries))
    return out


def _sealable(directory: Path) -> list[str]:
    return [
        path.name for path in directory.iterdir() if path.is_file() and _is_shown(path) and path.name != MAPPING_FILE
    ]


def _is_shown(path: Path) -> bool:
    return not path.name.startswith(".")


def _link(source: Path | str, target: Path | str) -> None:
    try:
        os.link(Path(source).resolve(), target)  # the hub's cache holds links to files
    except OSError:
        shutil.copyfile(source, target)
