# SPDX-License-Identifier: Apache-2.0
"""What a mapping file makes of a policy server: a message to ask it with, and what its answers mean.

Legend: D dimensions of the model's action, M of its state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends.spec import NetworkSizes, spec_of
from vla_policy.core.protocol import Observation, PolicySpec
from vla_policy.core.published.adapter import ModelAdapter, adapter_of
from vla_policy.core.published.mapping import ModelMapping, misfits
from vla_policy.core.published.statistics import Normalisation, identity
from vla_policy.core.remote.address import short_name
from vla_policy.core.remote.codec import packed
from vla_policy.core.remote.observation import ObservationMessage


@dataclass(frozen=True)
class ServerFacts:
    """What one answer tells of the model; see `ModelFacts`.

    Attributes:
        state_dim: M, which the server does not say: the mapping's.
        action_dim: D.
    """

    state_dim: int
    action_dim: int
    cameras: tuple[str, ...] = ()
    are_dims_known: bool = True
    relative: tuple[bool, ...] | None = None

    @property
    def state(self) -> Normalisation:
        """The server normalises."""
        return identity(self.state_dim)

    @property
    def action(self) -> Normalisation:
        """The server has put back its normalisation."""
        return identity(self.action_dim)

    @property
    def max_state_dim(self) -> int:
        """Without padding."""
        return self.state_dim

    @property
    def max_action_dim(self) -> int:
        """Without padding."""
        return self.action_dim


def probe_request(mapping: ModelMapping) -> bytes:
    """An observation of grey images and a state of zeros, to find out what the server answers."""
    size = mapping.server.image_size_px
    cameras = [camera for camera in mapping.cameras.values() if camera is not None]
    images = {camera: np.full((size, size, 3), 127, np.uint8) for camera in cameras}
    words = mapping.instructions[0] if mapping.instructions else "do nothing"
    state = np.asarray([entry.constant or 0.0 for entry in mapping.state], np.float32)
    return packed(ObservationMessage(mapping).of(Observation(images, state, words), state))


def fitted(
    mapping: ModelMapping, answer: tuple[int, ...], joint_names: tuple[str, ...], address: str
) -> tuple[ModelAdapter, PolicySpec]:
    """What a mapping makes of a server that answers with actions of a shape.

    Raises:
        CheckpointError: They do not fit; the text names the key of the mapping.
    """
    steps, dims = answer
    facts = ServerFacts(len(mapping.state), dims)
    if problems := misfits(mapping, facts, joint_names):
        raise CheckpointError("; ".join(problems))
    if mapping.horizon > steps:
        raise CheckpointError(f"horizon: {mapping.horizon} steps are wanted, the server's chunks have {steps}")
    adapter, stats = adapter_of(mapping, facts, joint_names)
    sizes = NetworkSizes(
        image_size_px=mapping.server.image_size_px,
        image_tokens=1,
        horizon=mapping.horizon or steps,
        state_dim=stats.proprio.dim,
        action_dim=stats.action.dim,
    )
    names = mapping.action_names(joint_names) if mapping.action_space == "joint" else ()
    spec = spec_of(sizes, stats, f"policy server {short_name(address)}", feature_dim=0, joint_names=names)
    return adapter, replace(spec, takes_noise=False)
