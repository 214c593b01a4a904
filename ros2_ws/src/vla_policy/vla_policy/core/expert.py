# SPDX-License-Identifier: Apache-2.0
"""The action expert as one plain function of tensors: N candidates attend to the prefix of their observation without
copying it, for B observations at once.

Same weights and same numbers as transformers' own forward pass (a test holds them together), but no cache object
and no mask built per call, so it is faster eagerly and can be exported.

Legend: B observations, N candidates of each, S prefix tokens, T = 1 + H suffix tokens (state, actions), G query heads
per key head, K key heads, E head dim, A padded action dims, P padded state dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PI0ForConditionalGeneration

from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.conditioning import guided
from vla_policy.core.flow import Prefix
from vla_policy.core.rtc import guided_velocity

HIDDEN = -1e9  # added to a score that must not count; finite, so that a row of them is no NaN


def stack_prefix(prefix: Prefix) -> tuple[Tensor, Tensor, Tensor]:
    """A prefix as three tensors: keys and values [layers, B, K, S, E], seen float [B, S]."""
    keys, values = torch.stack(prefix.keys), torch.stack(prefix.values)
    if prefix.attention_mask is None:
        seen = torch.ones(keys.shape[1], keys.shape[3], dtype=torch.float32, device=keys.device)
    else:
        seen = prefix.attention_mask.to(torch.float32)
    return keys, values, seen


class ExpertStep(nn.Module):
    """Velocity of N noisy chunks of each observation at one flow time."""

    def __init__(self, model: PI0ForConditionalGeneration) -> None:
        """Shares the weights of `model`."""
        super().__init__()
        self.embed = model.embed_action_time
        self.layers = model.model.dit.layers
        self.norm = model.model.dit.norm
        self.out = model.action_out_proj
        rotary = model.model.dit.rotary_emb
        self.register_buffer("frequencies", rotary.inv_freq.detach().clone().float(), persistent=False)
        self.rotary_scale = float(rotary.attention_scaling)
        config = model.config.dit_config
        self.key_heads = int(config.num_key_value_heads)
        self.groups = int(config.num_attention_heads) // self.key_heads
        self.head_dim = int(config.head_dim)

    def forward(self, keys: Tensor, values: Tensor, seen: Tensor, state: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """Args: see the legend and `stack_prefix`; state [B, P], noisy [B, N, H, A], time [N]. Returns [B, N, H, A]."""
        batch, count = noisy.shape[0], noisy.shape[1]
        states = state[:, None].expand(-1, count, -1).flatten(0, 1)
        hidden = self.embed(states, noisy.flatten(0, 1), time.repeat(batch))  # [B*N, T, D]
        suffix = hidden.shape[1]
        cos, sin = self._rotation(seen, suffix, hidden.dtype)
        prefix_mask = ((1.0 - seen) * HIDDEN)[:, None, None, None]  # [B, 1, 1, 1, S]
        position = torch.arange(suffix, device=hidden.device)
        # the state token sees the prefix and itself; action tokens see everything
        own_mask = ((position[:, None] == 0) & (position[None, :] > 0)).to(torch.float32) * HIDDEN  # [T, T]
        for index, layer in enumerate(self.layers):
            normed = layer.input_layernorm(hidden)
            memory = (keys[index], values[index], prefix_mask, own_mask)
            hidden = hidden + self._attend(layer.self_attn, normed, memory, cos, sin)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        out = self.out(self.norm(hidden)[:, 1:])
        return cast(Tensor, out.unflatten(0, (batch, count)))

    def _rotation(self, seen: Tensor, suffix: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Of every token of the suffix, [B, 1, T, E]."""
        positions = seen.sum(1, keepdim=True) + torch.arange(suffix, device=seen.device)  # padding takes no position
        angles = positions[:, None, :, None] * cast(Tensor, self.frequencies)
        both = torch.cat([angles, angles], dim=-1)
        return (both.cos() * self.rotary_scale).to(dtype), (both.sin() * self.rotary_scale).to(dtype)

    def _attend(
        self, attention: Any, x: Tensor, memory: tuple[Tensor, Tensor, Tensor, Tensor], cos: Tensor, sin: Tensor
    ) -> Tensor:
        prefix_keys, prefix_values, prefix_mask, own_mask = memory  # keys and values [B, K, S, E]
        batch, suffix, split = prefix_keys.shape[0], x.shape[1], prefix_keys.shape[2]
        heads, rows, width = self.key_heads, self.groups * suffix, self.head_dim
        query = attention.q_proj(x).view(batch, -1, suffix, heads, self.groups, width)
        key = attention.k_proj(x).view(batch, -1, suffix, heads, width)
        value = attention.v_proj(x).view(batch, -1, suffix, heads, width).transpose(2, 3)
        query = _rotate(query, cos[..., None, None, :], sin[..., None, None, :]) * attention.scaling
        key = _rotate(key, cos[..., None, :], sin[..., None, :]).transpose(2, 3)  # [B, N, K, T, E]
        flat = query.permute(0, 3, 1, 4, 2, 5).reshape(batch, heads, -1, width)  # [B, K, N*G*T, E]
        to_prefix = (flat @ prefix_keys.transpose(2, 3)).view(batch, heads, -1, rows, split).transpose(1, 2)
        grouped = query.permute(0, 1, 3, 4, 2, 5).reshape(batch, -1, heads, rows, width)
        to_own = grouped @ key.transpose(3, 4)  # [B, N, K, G*T, T]
        own = to_own + own_mask.repeat(self.groups, 1).to(to_own.dtype)
        scores = torch.cat([to_prefix + prefix_mask.to(to_own.dtype), own], dim=-1)
        weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(x.dtype)
        seen = weights[..., :split].transpose(1, 2).reshape(batch, heads, -1, split)
        mixed = (seen @ prefix_values).view(batch, heads, -1, rows, width).transpose(1, 2)
        mixed = mixed + weights[..., split:] @ value  # [B, N, K, G*T, E]
        mixed = mixed.unflatten(3, (self.groups, suffix)).permute(0, 1, 4, 2, 3, 5)
        return cast(Tensor, attention.o_proj(mixed.reshape(-1, suffix, heads * self.groups * width)))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def integrate(
    step: ExpertStep,
    prefix: Prefix,
    state: Tensor,
    noise: Tensor,
    steps: int,
    plain: tuple[Prefix, float] | None = None,
    olds: Sequence[ChunkPrefix] = (),
) -> Tensor:
    """Euler from noise to data, like `flow.sample_chunks`, on the exported-form expert.

    Args:
        step: The expert.
        prefix: Of B observations, each shared by its candidates.
        state: [B, P].
        noise: [B, N, H, A].
        steps: Euler steps.
        plain: Prefix of the same observations without the words that guide, and the guidance; None for no guidance.
        olds: What is left of the chunk that plays, of each observation and with one beta, for real-time chunking; needs
            gradients, so no `inference_mode`. Empty for none.

    Returns:
        [B, N, H, A].
    """
    memory, other = stack_prefix(prefix), None if plain is None else stack_prefix(plain[0])

    def velocity(x: Tensor, time: Tensor) -> Tensor:
        near = x.to(state.dtype)  # the chunk itself is summed up in full precision
        field = step(*memory, state, near, time)
        if plain is not None and other is not None:
            field = guided(step(*other, state, near, time), field, plain[1])
        return field

    x = noise
    for number in range(steps):
        t = 1.0 - number / steps
        time = torch.full((noise.shape[1],), t, dtype=torch.float32, device=noise.device)
        if not olds:
            field = velocity(x, time)
        else:
            pulls = [old.padded(noise.shape[2], noise.shape[3]) for old in olds]
            target, weight = (torch.from_numpy(np.stack(part)).to(noise)[:, None] for part in zip(*pulls, strict=True))
            field = guided_velocity(partial(velocity, time=time), x, t, target, weight, olds[0].beta)
        x = x - field.to(x.dtype) / steps
    return x
