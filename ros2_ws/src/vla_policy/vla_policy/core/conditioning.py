# SPDX-License-Identifier: Apache-2.0
"""Words that a model is served with besides the instruction, and how strongly they count.

Classifier-free guidance for flow matching (RECAP, section V-E): v = v_plain + g * (v_conditioned - v_plain), at every
flow time. g = 1 is plain conditioning and costs nothing; any other needs a second prefix pass and doubles the expert's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.files import manifest_as
from whetstone_common.core.foreign import Name, OpenModel, StrictModel

if TYPE_CHECKING:
    from torch import Tensor

GUIDANCE_LIMIT = 10.0
KEY = "conditioning"
V = TypeVar("V", "Tensor", NDArray[np.float32])


@dataclass(frozen=True)
class Conditioning:
    """What a model directory says of the words that it was trained with.

    Attributes:
        suffix: Words behind every instruction.
        guidance: g, 0 plain policy, 1 conditioned, above 1 beyond it.
    """

    suffix: str
    guidance: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be served.

        Raises:
            ValueError: With name, value and range.
        """
        if not self.suffix.strip():
            raise ValueError("suffix is empty, expected words")
        if not (math.isfinite(self.guidance) and 0.0 <= self.guidance <= GUIDANCE_LIMIT):
            raise ValueError(f"guidance is {self.guidance}, allowed: 0..{GUIDANCE_LIMIT:g}")

    @property
    def needs_plain(self) -> bool:
        """Whether the plain prefix is needed besides the conditioned one."""
        return self.guidance != 1.0

    def prompt(self, instruction: str) -> str:
        """Instruction with the words behind it."""
        return f"{instruction} {self.suffix}"

    def entry(self) -> dict[str, Any]:
        """Of a manifest."""
        return {KEY: asdict(self)}


def guided(plain: V, conditioned: V, guidance: float) -> V:
    """Velocity, or any affine function of it such as the next point of an Euler step."""
    return plain + guidance * (conditioned - plain)


class _ConditioningBlock(StrictModel):
    suffix: Name
    guidance: Annotated[float, Field(ge=0.0, le=GUIDANCE_LIMIT)] = 1.0


class _ConditioningEntries(OpenModel):
    conditioning: _ConditioningBlock | None = None


def conditioning_in(manifest: Mapping[str, Any], directory: Path) -> Conditioning | None:
    """What a manifest says, None for a model without such words.

    Raises:
        CheckpointError: The entry cannot be used.
    """
    block = manifest_as(_ConditioningEntries, manifest, directory).conditioning
    return None if block is None else Conditioning(block.suffix, block.guidance)


def with_guidance(conditioning: Conditioning | None, guidance: float | None, model_id: str) -> Conditioning | None:
    """Conditioning with another guidance than the model directory's, None for that of the directory.

    Raises:
        CheckpointError: The model knows no words that could be guided by, or the guidance cannot be served.
    """
    if guidance is None:
        return conditioning
    if conditioning is None:
        raise CheckpointError(
            f"guidance is {guidance}, but {model_id} was not trained with an indicator: "
            "leave guidance out, or serve a model that `whetstone recap` made"
        )
    try:
        return replace(conditioning, guidance=guidance)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
