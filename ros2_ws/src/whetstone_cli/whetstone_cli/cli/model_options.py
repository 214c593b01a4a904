# SPDX-License-Identifier: Apache-2.0
"""Launch arguments that follow from a model directory."""

from __future__ import annotations

from pathlib import Path

from vla_policy.core.published.detect import ModelNotFoundError, crop_of, is_published, local_directory
from whetstone_cli.cli.errors import UserError


def model_directory(name: str) -> Path:
    """A directory as it is named, or a copy of a model of the hub.

    Raises:
        UserError: There is none.
    """
    try:
        return local_directory(name)
    except ModelNotFoundError as error:
        raise UserError(str(error)) from error


def model_arguments(directory: Path, backend: str = "", mapping: Path | None = None) -> dict[str, str]:
    """Launch arguments for a model directory: a published checkpoint has its backend and its way to fit images.

    Args:
        directory: Of the model.
        backend: Kind of model that was asked for; empty for the one that fits.
        mapping: Mapping file, None for the one beside the checkpoint.
    """
    arguments = {"model_dir": str(directory.resolve())}
    if backend in ("", "onnx", "pi0") and is_published(directory):
        arguments |= {"backend": "pi0", "crop": crop_of(directory)}
    if mapping is not None:
        arguments["model_mapping"] = str(mapping.resolve())
    return arguments
