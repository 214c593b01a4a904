# SPDX-License-Identifier: Apache-2.0
"""Which directories hold a published checkpoint, and where one of the hub's lies; needs no torch."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path

from whetstone_common.core.foreign import shortened

_HUB, _HUB_TIMEOUT_S = "huggingface.co", 3.0
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
# Nothing that could hold code is fetched.
_FETCHED = ["*.safetensors", "*.json", "*.yaml", "tokenizer.model", "assets/**"]


class ModelNotFoundError(ValueError):
    """A name that stands for no model directory; the text says what was tried."""


def hub_answers() -> bool:
    """Whether there is a network to the Hugging Face hub; its client would try for a minute to find that out."""
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return False
    try:
        socket.create_connection((_HUB, 443), timeout=_HUB_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def is_pocket(directory: Path) -> bool:
    """Whether a model directory is of an embedded VLA, which brings its own words."""
    return (directory / "vocab.json").is_file()


def is_published(directory: Path) -> bool:
    """Whether a directory is to be served by the `pi0` backend: as LeRobot, transformers or openpi write it."""
    if is_pocket(directory):  # it has a backend of its own
        return False
    path = directory / "config.json"
    if not path.is_file():
        return any(directory.glob("assets/**/norm_stats.json")) or (directory / "norm_stats.json").is_file()
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(body, dict) and ("pi0" in (body.get("type"), body.get("model_type")) or "action_horizon" in body)


def crop_of(directory: Path) -> str:
    """How images are fitted for a model, observation_node's parameter `crop`: PI0 was trained with padded ones."""
    return "pad" if is_published(directory) else "center"


def local_directory(name: str) -> Path:
    """A directory as it is named, or a copy of a model of the Hugging Face hub.

    Args:
        name: Path, or `owner/model` where there is no such path.

    Raises:
        ModelNotFoundError: It is neither, or the hub cannot be reached.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists() or not _HUB_ID.match(name):
        raise ModelNotFoundError(f"{name}: there is no such model directory")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_FETCHED, local_files_only=not hub_answers()))
    except Exception as error:
        raise ModelNotFoundError(
            f"{name}: there is no such directory, and the hub gives no model of that name: {shortened(error)}"
        ) from error
