# SPDX-License-Identifier: Apache-2.0
"""What a network of certain sizes and certain statistics takes and gives."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vla_policy.core.normalise import PolicyStats
from vla_policy.core.protocol import PolicySpec
from whetstone_common.core.foreign import StrictModel

Size = Annotated[int, Field(ge=1)]


class NetworkSizes(StrictModel):
    """Of a PI0, as the manifest of an export says them.

    Attributes:
        image_size_px: Side of an image.
        image_tokens: Tokens that one image becomes.
        horizon: H, steps of a chunk.
        state_dim: Numbers of the state, padding included.
        action_dim: Numbers of an action, padding included.
    """

    image_size_px: Size
    image_tokens: Size
    horizon: Size
    state_dim: Size
    action_dim: Size


def spec_of(
    sizes: NetworkSizes,
    stats: PolicyStats,
    model_id: str,
    feature_dim: int,
    joint_names: tuple[str, ...] = (),
    readout_names: tuple[str, ...] = (),
    feature_version: str = "",
) -> PolicySpec:
    """What a model of those sizes and statistics expects and returns."""
    return PolicySpec(
        model_id=model_id,
        cameras=stats.cameras,
        image_height_px=sizes.image_size_px,
        image_width_px=sizes.image_size_px,
        proprio_dim=stats.proprio.dim,
        horizon=sizes.horizon,
        action_dim=stats.action.dim,
        noise_dim=sizes.action_dim,
        dt_s=stats.dt_s,
        action_space=stats.action_space,
        action_scale=stats.action.std,
        action_offset=stats.action.mean,
        feature_dim=feature_dim,
        instructions=stats.instructions,
        joint_names=joint_names,
        readout_names=readout_names,
        feature_version=feature_version,
    )
