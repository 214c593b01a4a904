# SPDX-License-Identifier: Apache-2.0
"""Prefix pass and flow sampling on `PI0ForConditionalGeneration`: one prefix, N chunks.

Flow time is transformers': t = 1 is noise, t = 0 is data, velocity = noise - data.
Legend: B batch, N candidates, S prefix tokens, D VLM width, H horizon, A (padded) action dims, P state dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PI0ForConditionalGeneration


@dataclass(frozen=True)
class Prefix:
    """What the vision-language part leaves behind.

    Attributes:
        keys: per layer [B, kv heads, S, head dim].
        values: per layer [B, kv heads, S, head dim].
        attention_mask: [B, S] or None when no token is padding.
        hidden: embeddings and each layer's output, [B, S, D]; the last one is normed. Empty unless asked for.
        last: final normed embeddings [B, S, D].
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    attention_mask: Tensor | None
    hidden: tuple[Tensor, ...]
    last: Tensor

    def first(self, count: int) -> Prefix:
        """The keys and values of the first `count` observations; `hidden` is left out."""
        mask = None if self.attention_mask is None else self.attention_mask[:count]
        keys, values = (tuple(x[:count] for x in side) for side in (self.keys, self.values))
        return Prefix(keys, values, mask, (), self.last[:count])

    def row(self, index: int) -> Prefix:
        """One observation of several, as views; `hidden` is left out."""
        part = slice(index, index + 1)
        mask = None if self.attention_mask is None else self.attention_mask[part]
        keys, values = (tuple(x[part] for x in side) for side in (self.keys, self.values))
        return Prefix(keys, values, mask, (), self.last[part])

    @staticmethod
    def joined(prefixes: Sequence[Prefix]) -> Prefix:
        """The observations of several as one; `hidden` is left out. Either all have a mask or none has."""
        if len(prefixes) == 1:
            return prefixes[0]
        keys, values = (
            tuple(torch.cat(layer) for layer in zip(*sides, strict=True))
            for sides in ([p.keys for p in prefixes], [p.values for p in prefixes])
        )
        masks = [p.attention_mask for p in prefixes if p.attention_mask is not None]
        return Prefix(keys, values, torch.cat(masks) if masks else None, (), torch.cat([p.last for p in prefixes]))

    def for_gradients(self) -> Prefix:
        """Copies that autograd may keep: tensors made in `inference_mode` must not take part in a backward pass."""
        mask = None if self.attention_mask is None else self.attention_mask.clone()
        keys, values = (tuple(x.clone() for x in side) for side in (self.keys, self.values))
        return Prefix(keys, values, mask, (), self.last)

    def cache(self, repeats: int) -> DynamicCache:
        """A fresh cache that holds each prefix `repeats` times in a row (views where torch can)."""
        pairs = [(_repeat(k, repeats), _repeat(v, repeats)) for k, v in zip(self.keys, self.values, strict=True)]
        return DynamicCache(pairs)

    def mask(self, repeats: int) -> Tensor | None:
        """The attention mask, each row `repeats` times."""
        return None if self.attention_mask is None else self.attention_mask.repeat_interleave(repeats, dim=0)


def _repeat(x: Tensor, repeats: int) -> Tensor:
    if repeats == 1:
        return x
    return x[:, None].expand(-1, repeats, *x.shape[1:]).reshape(-1, *x.shape[1:])


def embed_all_cameras(model: PI0ForConditionalGeneration, input_ids: Tensor, pixel_values: Tensor) -> Tensor:
    """Prefix embeddings [B, S, D] when no camera is masked and the image tokens come first.

    The same as transformers' `embed_prefix` in that case, without the index arithmetic that cannot be exported.
    """
    vlm = model.model.vlm
    batch = pixel_values.shape[0]
    images = vlm.get_image_features(pixel_values.flatten(0, 1)).pooler_output
    images = images.reshape(batch, -1, images.shape[-1])
    words = vlm.get_input_embeddings()(input_ids[:, images.shape[1] :])
    return torch.cat([images.to(words.dtype), words], dim=1)


def encode_prefix(
    model: PI0ForConditionalGeneration,
    input_ids: Tensor,
    pixel_values: Tensor,
    camera_mask: Tensor | None,
    attention_mask: Tensor | None = None,
    *,
    keep_hidden: bool = False,
) -> Prefix:
    """Runs the vision-language model once.

    Args:
        model: any PI0.
        input_ids: [B, S] image tokens first.
        pixel_values: [B, cameras, 3, height, width] in [-1, 1].
        camera_mask: bool [B, cameras]; None when every camera is there.
        attention_mask: [B, S], 0 for padding.
        keep_hidden: keep every layer's output.
    """
    inner = model.model
    if camera_mask is None:
        embeds = embed_all_cameras(model, input_ids, pixel_values)
    else:
        embeds = inner.embed_prefix(input_ids, pixel_values, camera_mask)
    positions = None if attention_mask is None else attention_mask.cumsum(-1) - 1
    if positions is None:
        positions = torch.arange(embeds.shape[1], device=embeds.device)[None].expand(embeds.shape[0], -1)
    out = inner.vlm(
        inputs_embeds=embeds,
        attention_mask=attention_mask,
        position_ids=positions,
        token_type_ids=torch.zeros_like(embeds)[:, :, 0],
        use_cache=True,
        output_hidden_states=keep_hidden,
    )
    layers = out.past_key_values.layers
    return Prefix(
        keys=tuple(layer.keys for layer in layers),
        values=tuple(layer.values for layer in layers),
        attention_mask=attention_mask,
        hidden=tuple(out.hidden_states) if keep_hidden else (),
        last=out.last_hidden_state,
    )


def velocity(model: PI0ForConditionalGeneration, prefix: Prefix, state: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
    """Velocity field at one flow time.

    Args:
        model: any PI0.
        prefix: of B observations.
        state: [B * N, P] normalised.
        noisy: [B * N, H, A].
        time: [B * N], 1 noise to 0 data.

    Returns:
        [B * N, H, A], noise minus data.
    """
    repeats = noisy.shape[0] // prefix.keys[0].shape[0]
    out = model(
        state=state,
        noise=noisy,
        timestep=time,
        attention_mask=prefix.mask(repeats),
        past_key_values=prefix.cache(repeats),
    )
    return out.logits  # type: ignore[no-any-return]


def sample_chunks(
    model: PI0ForConditionalGeneration, prefix: Prefix, state: Tensor, noise: Tensor, steps: int
) -> Tensor:
    """Euler from noise to data.

    Args:
        model: any PI0.
        prefix: of one observation.
        state: [1, P] normalised.
        noise: [N, H, A].
        steps: number of network calls.

    Returns:
        [N, H, A] normalised actions.
    """
    x, count = noise, noise.shape[0]
    states = state.expand(count, -1)
    for step in range(steps):
        time = torch.full((count,), 1.0 - step / steps, dtype=torch.float32, device=noise.device)
        x = x - velocity(model, prefix, states, x, time).to(x.dtype) / steps
    return x
