# SPDX-License-Identifier: Apache-2.0
"""A PI0's action expert as `rl_methods.common.flow_policy` wants it: velocities with gradients on kept prefixes.

Legend: B observations, N chunks of each, L layers, S prefix tokens, H horizon, A action dims, D padded action dims,
P padded state dims, F feature dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from vla_policy.core.backends.pi0 import Pi0Backend
from vla_policy.core.flow import Prefix, velocity
from vla_policy.core.protocol import Observation
from vla_policy.core.training.trainable import expert_parameters, train_expert_only


@dataclass(frozen=True, eq=False)
class PrefixBatch:
    """What the vision-language part leaves of B observations, in main memory.

    Attributes:
        keys: [B, L, kv heads, S, head dim].
        values: [B, L, kv heads, S, head dim].
        mask: [B, S], 0 for padding; [B, 0] where nothing is.
        state: [B, P] normalised and padded.
        features: Float32 [B, F].
    """

    keys: Tensor
    values: Tensor
    mask: Tensor
    state: Tensor
    features: Tensor

    def __len__(self) -> int:
        """B."""
        return len(self.features)

    def rows(self, index: Tensor) -> PrefixBatch:
        """Some of them."""
        return PrefixBatch(*(getattr(self, f.name)[index] for f in fields(self)))

    def prefix(self, device: torch.device) -> Prefix:
        """As the model takes it."""
        keys, values = (tuple(x.to(device).unbind(1)) for x in (self.keys, self.values))
        mask = self.mask.to(device) if self.mask.shape[1] else None
        return Prefix(keys, values, mask, (), torch.zeros(len(self), 1, 1, device=device))


class ExpertFlow:
    """A loaded PI0 or pocket VLA whose action expert is to be trained; eyes and words are frozen.

    Args:
        backend: The VLA. Its model is changed in place.
    """

    def __init__(self, backend: Pi0Backend) -> None:
        self.backend = backend
        train_expert_only(backend.model)
        backend.model.eval()  # what drops out in one pass and not in another would make likelihoods lie
        self._parameters = expert_parameters(backend.model)
        self._device = next(iter(self._parameters.values())).device
        self._dtype = next(iter(self._parameters.values())).dtype

    @property
    def chunk_shape(self) -> tuple[int, int]:
        """(H, A)."""
        return self.backend.spec.chunk_shape

    @property
    def noise_shape(self) -> tuple[int, int]:
        """(H, D)."""
        return self.backend.spec.noise_shape

    @property
    def feature_dim(self) -> int:
        """F."""
        return self.backend.spec.feature_dim

    @property
    def denoise_steps(self) -> int:
        """Euler steps with which it is served."""
        return self.backend.num_steps

    def parameters(self) -> dict[str, nn.Parameter]:
        """Of the action expert and its projections."""
        return self._parameters

    def encode(self, observations: Sequence[Observation]) -> PrefixBatch:
        """The frozen part's view of some observations.

        Raises:
            ObservationError: The model cannot look at one of them.
        """
        parts = [self._encode(observation) for observation in observations]
        return self.join(parts)

    def join(self, contexts: Sequence[PrefixBatch]) -> PrefixBatch:
        """Contexts one after the other."""
        return PrefixBatch(*(torch.cat([getattr(c, f.name) for c in contexts]) for f in fields(PrefixBatch)))

    def velocity(self, context: PrefixBatch, noisy: Tensor, time: Tensor) -> Tensor:
        """See `rl_methods.common.flow_policy.FlowPolicy.velocity`."""
        state = context.state.repeat_interleave(len(noisy) // len(context), dim=0)
        out = velocity(
            self.backend.model,
            context.prefix(self._device),
            state.to(self._device),
            noisy.to(self._device, self._dtype),
            time.to(self._device),
        )
        return out.float().cpu()

    def _encode(self, observation: Observation) -> PrefixBatch:
        context = self.backend.prefix(observation)
        prefix = context.prefix
        mask = prefix.attention_mask
        # Copies: what was made in inference mode cannot take part in a backward pass.
        return PrefixBatch(
            keys=torch.stack(prefix.keys, dim=1).cpu().clone(),
            values=torch.stack(prefix.values, dim=1).cpu().clone(),
            mask=torch.ones(1, 0) if mask is None else mask.cpu().clone(),
            state=context.state.cpu().clone(),
            features=torch.from_numpy(self.backend.features(context))[None],
        )
