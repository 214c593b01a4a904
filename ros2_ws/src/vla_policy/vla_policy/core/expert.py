# SPDX-License-Identifier: Apache-2.0
"""The action expert as one plain function of tensors: N candidates attend to one prefix without copying it.

Same weights and same numbers as transformers' own forward pass (a test holds them together), but no cache object
and no mask built per call, so it is faster eagerly and can be exported.

Legend: N candidates, S prefix tokens, T = 1 + H suffix tokens (state, actions), G query heads per key head, K key
heads, E head dim, A padded action dims, P padded state dims.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

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
    """One observation's prefix as three tensors: keys and values [layers, K, S, E], seen float [S]."""
    keys = torch.stack([key[0] for key in prefix.keys])
    values = torch.stack([value[0] for value in prefix.values])
    if prefix.attention_mask is None:
        seen = torch.ones(keys.shape[2], dtype=torch.float32, device=keys.device)
    else:
        seen = prefix.attention_mask[0].to(torch.float32)
    return keys, values, seen


class ExpertStep(nn.Module):
    """Velocity of N noisy chunks at one flow time."""

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
        """Args: see the legend; state [1, P], noisy [N, H, A], time [N]. Returns [N, H, A]."""
        hidden = self.embed(state.expand(noisy.shape[0], -1), noisy, time)  # [N, T, D]
        suffix = hidden.shape[1]
        cos, sin = self._rotation(seen, suffix, hidden.dtype)
        prefix_mask = (1.0 - seen) * HIDDEN  # [S]
        position = torch.arange(suffix, device=hidden.device)
        # the state token sees the prefix and itself; action tokens see everything
        own_mask = ((position[:, None] == 0) & (position[None, :] > 0)).to(torch.float32) * HIDDEN  # [T, T]
        for index, layer in enumerate(self.layers):
            normed = layer.input_layernorm(hidden)
            memory = (keys[index], values[index], prefix_mask, own_mask)
            hidden = hidden + self._attend(layer.self_attn, normed, memory, cos, sin)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return cast(Tensor, self.out(self.norm(hidden)[:, 1:]))

    def _rotation(self, seen: Tensor, suffix: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        positions = seen.sum() + torch.arange(suffix, device=seen.device)  # padding takes no position
        angles = positions[:, None] * cast(Tensor, self.frequencies)[None, :]
        both = torch.cat([angles, angles], dim=-1)
        return (both.cos() * self.rotary_scale).to(dtype), (both.sin() * self.rotary_scale).to(dtype)

    def _attend(
        self, attention: Any, x: Tensor, memory: tuple[Tensor, Tensor, Tensor, Tensor], cos: Tensor, sin: Tensor
    ) -> Tensor:
        prefix_keys, prefix_values, prefix_mask, own_mask = memory
        count, suffix = x.shape[0], x.shape[1]
        query = attention.q_proj(x).view(count, suffix, self.key_heads, self.groups, self.head_dim)
        key = attention.k_proj(x).view(count, suffix, self.key_heads, self.head_dim)
        value = attention.v_proj(x).view(count, suffix, self.key_heads, self.head_dim).transpose(1, 2)
        query = _rotate(query, cos[:, None, None], sin[:, None, None]) * attention.scaling
        key = _rotate(key, cos[:, None], sin[:, None]).transpose(1, 2)  # [N, K, T, E]
        rows = query.permute(2, 0, 3, 1, 4).reshape(self.key_heads, -1, self.head_dim)  # [K, N*G*T, E]
        to_prefix = (rows @ prefix_keys.transpose(1, 2)).view(self.key_heads, count, self.groups * suffix, -1)
        grouped = query.permute(0, 2, 3, 1, 4).reshape(count, self.key_heads, self.groups * suffix, self.head_dim)
        to_own = grouped @ key.transpose(2, 3)  # [N, K, G*T, T]
        own = to_own + own_mask.repeat(self.groups, 1).to(to_own.dtype)
        scores = torch.cat([to_prefix.transpose(0, 1) + prefix_mask.to(to_own.dtype), own], dim=-1)
        weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(x.dtype)
        split = prefix_keys.shape[1]
        flat = weights[..., :split].transpose(0, 1).reshape(self.key_heads, -1, split)
        mixed = (flat @ prefix_values).view(self.key_heads, count, self.groups * suffix, -1).transpose(0, 1)
        mixed = mixed + weights[..., split:] @ value  # [N, K, G*T, E]
        mixed = mixed.view(count, self.key_heads, self.groups, suffix, self.head_dim)
        return cast(Tensor, attention.o_proj(mixed.permute(0, 3, 1, 2, 4).reshape(count, suffix, -1)))


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
    old: ChunkPrefix | None = None,
) -> Tensor:
    """Euler from noise to data, like `flow.sample_chunks`, on the exported-form expert.

    Args:
        step: The expert.
        prefix: Of one observation, shared by all candidates.
        state: [1, P].
        noise: [N, H, A].
        steps: Euler steps.
        plain: Prefix of the same observation without the words that guide, and the guidance; None for no guidance.
        old: What is left of the chunk that plays, for real-time chunking; needs gradients, so no `inference_mode`.
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
        time = torch.full((noise.shape[0],), t, dtype=torch.float32, device=noise.device)
        if old is None:
            field = velocity(x, time)
        else:
            target, weight = (torch.from_numpy(a).to(noise) for a in old.padded(noise.shape[1], noise.shape[2]))
            field = guided_velocity(partial(velocity, time=time), x, t, target, weight, old.beta)
        x = x - field.to(x.dtype) / steps
    return x
