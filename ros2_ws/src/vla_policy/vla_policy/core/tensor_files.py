# SPDX-License-Identifier: Apache-2.0
"""Files of tensors, safetensors only.

One is accepted when it has exactly the names and shapes that are expected and every number is finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.common.tensors import check_tensors


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of one safetensors file.

    Raises:
        CheckpointError: the file is absent or is not a safetensors file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies `tensors` into `module` after `check_tensors`."""
    check_tensors(tensors, module.state_dict(), source)
    module.load_state_dict(dict(tensors), strict=True)
