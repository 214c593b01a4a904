# SPDX-License-Identifier: Apache-2.0
"""A mapping file to fill in: what the checkpoint says, and where it says nothing, what to write."""

from __future__ import annotations

from collections.abc import Sequence

from vla_policy.core.published.directory import Format, PublishedModel
from vla_policy.core.published.statistics import Normalisation

_HEAD = """# What the numbers of {name} mean on this robot. Check every line: units and order are guesses.
action_space: joint        # joint, or cartesian: relative to the TCP at the start of the chunk
actions: {actions}
gripper: {gripper}
dt_s: 0.05                 # time between two steps of a chunk [s]: 1 / fps of the dataset
cameras:                   # model's image: robot's camera, null where the robot has none
{cameras}state:                     # in the model's order; unit: rad, deg, m, mm, percent, opening
{state}action:
{action}"""
_OPENPI = "normalisation: mean_std  # mean_std or quantiles, as its training config said\n"
_TOKENIZER = "tokenizer: tokenizer       # folder with the files of {name}, from the checkpoint on\n"


def template_of(model: PublishedModel, joints: Sequence[str], cameras: Sequence[str]) -> str:
    """Text of a mapping file.

    Args:
        model: What the checkpoint says.
        joints: The robot's joints, the gripper last.
        cameras: Names of the robot's cameras.
    """
    relative = model.relative or ()
    text = _HEAD.format(
        name=model.directory.name,
        actions=_kind(relative[:1]),
        gripper=_kind(relative[-1:]),
        cameras=_cameras(model.cameras or tuple(cameras), cameras),
        state=_dimensions(model, model.state, joints),
        action=_dimensions(model, model.action, joints),
    )
    text += _OPENPI if model.format is Format.OPENPI else ""
    return text + (_TOKENIZER.format(name=model.tokenizer) if model.format is not Format.TRANSFORMERS else "")


def _kind(relative: Sequence[bool]) -> str:
    if not relative:
        return "absolute           # absolute, or relative to the state at the observation"
    return "relative" if relative[0] else "absolute"


def _cameras(features: Sequence[str], cameras: Sequence[str]) -> str:
    names = [*cameras, *["null"] * len(features)]
    return "".join(f"  {feature}: {name}\n" for feature, name in zip(features, names, strict=False))


def _dimensions(model: PublishedModel, found: Normalisation, joints: Sequence[str]) -> str:
    count = found.dim if model.are_dims_known else min(found.dim, len(joints))
    names = [*joints, *["?"] * count][:count]
    return "".join(f"  - {{name: {name}, unit: {'opening' if name == joints[-1] else 'rad'}}}\n" for name in names)
