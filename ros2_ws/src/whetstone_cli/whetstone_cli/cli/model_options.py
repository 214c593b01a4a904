# SPDX-License-Identifier: Apache-2.0
"""Launch arguments that follow from a model directory."""

from __future__ import annotations

from pathlib import Path

from vla_policy.core.published.detect import ModelNotFoundError, crop_of, is_published, local_directory
from vla_policy.core.remote.address import AddressError, checked_address
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


def remote_arguments(address: str, mapping: Path | None) -> dict[str, str]:
    """Launch arguments for a policy server; images are fitted as openpi's client does it.

    Args:
        address: `ws://` or `wss://`.
        mapping: Mapping file, None where a launch argument names it.

    Raises:
        UserError: The address cannot be used.
    """
    try:
        arguments = {"backend": "remote", "remote": checked_address(address), "crop": "pad"}
    except AddressError as error:
        raise UserError(str(error)) from error
    return arguments | ({} if mapping is None else {"model_mapping": str(mapping.resolve())})
