# SPDX-License-Identifier: Apache-2.0
"""PI0 of any size: one prefix pass for an observation, any number of chunks from it.

How a checkpoint becomes `Parts` is in `core.published`. Legend: N candidates, S prefix tokens, H horizon, A action
dims, P state dims.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PI0Config

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends.pi0_parts import Parts
from vla_policy.core.backends.spec import NetworkSizes, spec_of
from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.conditioning import with_guidance
from vla_policy.core.expert import ExpertStep, integrate
from vla_policy.core.flow import Prefix, encode_prefix
from vla_policy.core.preprocess import pixels_from_uint8
from vla_policy.core.protocol import BackendError, FloatArray, Observation, PolicySpec

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Pi0Context:
    """What `prefix` leaves for `denoise` and `features`.

    Attributes:
        prefix: keys and values of one observation.
        state: [1, P] normalised, zero-padded to what the model takes.
        proprio: float32 [P'] normalised, unpadded.
        readouts: float32 [R] of the eyes; empty where there are none.
        plain: of the same observation without the words that guide; None where nothing is guided.
        shift: float32 [A] between the model's actions and the contract's; None where they are the same.
    """

    prefix: Prefix
    state: Tensor
    proprio: FloatArray
    readouts: FloatArray
    plain: Prefix | None = None
    shift: FloatArray | None = None

    def for_gradients(self) -> Pi0Context:
        """Copy whose tensors autograd may keep."""
        plain = None if self.plain is None else self.plain.for_gradients()
        return Pi0Context(
            self.prefix.for_gradients(), self.state.clone(), self.proprio, self.readouts, plain, self.shift
        )


class Pi0Backend:
    """Serves any PI0: one prefix pass, N noises as one batch on its cache."""

    def __init__(
        self,
        parts: Parts,
        *,
        num_steps: int | None = None,
        num_threads: int = 0,
        dtype: str = "float32",
        device: str = "cpu",
        guidance: float | None = None,
    ) -> None:
        """Wraps loaded parts.

        Args:
            parts: model and what belongs to it.
            num_steps: Euler steps; the model's own number by default.
            num_threads: torch threads of this process; 0 leaves them.
            dtype: `float32` or `bfloat16` for the network.
            device: torch device.
            guidance: weight of the words that the model is served with; that of its directory by default.

        Raises:
            CheckpointError: a guidance, and no such words.
        """
        if dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype!r}, allowed: {sorted(DTYPES)}")
        if num_threads:
            torch.set_num_threads(num_threads)
        self._device, self._dtype = torch.device(device), DTYPES[dtype]
        self.model = parts.model.eval().to(device=self._device)
        cast_parameters(self.model, self._dtype)
        self._parts = parts
        self.conditioning = with_guidance(parts.conditioning, guidance, parts.model_id)
        self._expert = ExpertStep(self.model).to(device=self._device)
        config = parts.model.config
        self.num_steps = num_steps or int(config.num_inference_steps)
        self._featurizer = parts.featurizer.on(self._device)
        self._eyes = None if parts.eyes is None else parts.eyes.eval().to(device=self._device)
        self._spec = spec_of(
            sizes_of(config), parts.stats, parts.model_id, parts.feature_dim, parts.joint_names, parts.readout_names
        )
        if parts.adapter is None and self._spec.proprio_dim > config.max_state_dim:
            raise CheckpointError(f"stats have {self._spec.proprio_dim} state dims, model {config.max_state_dim}")

    @classmethod
    def load(cls, directory: str, **options: Any) -> Pi0Backend:
        """Loads a published checkpoint directory; see the class and `load_published` for `options`."""
        from vla_policy.core.published.loading import load_published

        named = {name: options.pop(name) for name in ("mapping", "joint_names") if name in options}
        dtype = DTYPES.get(options.get("dtype", "float32"), torch.float32)
        return cls(load_published(Path(directory), dtype=dtype, **named), **options)

    @property
    def spec(self) -> PolicySpec:
        """What this policy takes and gives."""
        return self._spec

    def warmup(self) -> None:
        """One pass with one and one with eight candidates."""
        spec = self._spec
        size = (spec.image_height_px, spec.image_width_px, 3)
        words = spec.instructions[0] if spec.instructions else "do nothing"
        images = {name: np.zeros(size, dtype=np.uint8) for name in spec.cameras}
        context = self.prefix(Observation(images, np.asarray(self._parts.stats.proprio.mean, np.float32), words))
        self.features(context)
        for count in (1, 8):
            self.denoise(context, np.zeros((count, *spec.noise_shape), dtype=np.float32))

    def check_instruction(self, words: str) -> None:
        """See `Backend.check_instruction`."""
        self._prompt(words)

    @torch.inference_mode()
    def prefix(self, observation: Observation) -> Pi0Context:
        """Encodes an observation once."""
        self._spec.check(observation)
        images = np.stack([observation.images[name] for name in self._spec.cameras])
        full = pixels_from_uint8(torch.from_numpy(images)[None]).to(self._device)
        pixels = full.to(self._dtype)
        ids, mask = self._prompt(observation.instruction)
        prefix = self._encode(pixels, ids, mask)
        is_guided = self.conditioning is not None and self.conditioning.needs_plain
        plain = self._encode(pixels, *self._parts.prompt(observation.instruction)) if is_guided else None
        proprio = self._parts.stats.proprio.normalise(observation.proprio)
        adapter = self._parts.adapter
        numbers = proprio if adapter is None else adapter.state(observation.proprio)
        state = torch.zeros(1, self.model.config.max_state_dim, device=self._device, dtype=self._dtype)
        state[0, : numbers.size] = torch.from_numpy(numbers)
        shift = None if adapter is None else adapter.shift_at(observation.proprio)
        return Pi0Context(prefix, state, proprio, self._read(full, ids, proprio), plain, shift)

    def _read(self, pixels: Tensor, ids: Tensor, proprio: FloatArray) -> FloatArray:
        if self._eyes is None:
            return np.zeros(0, dtype=np.float32)
        words = ids[:, -self._eyes.shape.prompt_length :].to(self._device)
        seen = self._eyes(pixels, words, torch.from_numpy(proprio)[None].to(self._device))
        out: FloatArray = seen[0].cpu().numpy()
        return out

    def _prompt(self, instruction: str) -> tuple[Tensor, Tensor | None]:
        words = instruction if self.conditioning is None else self.conditioning.prompt(instruction)
        return self._parts.prompt(words)

    def _encode(self, pixels: Tensor, ids: Tensor, mask: Tensor | None) -> Prefix:
        mask = None if mask is None else mask.to(self._device)
        return encode_prefix(self.model, ids.to(self._device), pixels, None, mask)

    @torch.inference_mode()
    def features(self, context: Pi0Context) -> FloatArray:
        """Compact feature of the prefix, normalised proprioception, then what the eyes read."""
        last, seen = context.prefix.last, context.prefix.attention_mask
        compact = self._featurizer(last, seen).float().cpu().numpy()
        return np.concatenate([compact, context.proprio, context.readouts]).astype(np.float32)

    def denoise(self, context: Pi0Context, noise: FloatArray, old: ChunkPrefix | None = None) -> FloatArray:
        """N chunks as one batch; with real-time chunking by gradients through the expert."""
        if old is None:
            with torch.inference_mode():
                return self._denoise(context, noise, None)
        with torch.no_grad():
            return self._denoise(context.for_gradients(), noise, old)

    def _denoise(self, context: Pi0Context, noise: FloatArray, old: ChunkPrefix | None) -> FloatArray:
        self._spec.check_noise(noise)
        start = torch.from_numpy(np.ascontiguousarray(noise)).to(self._device)
        adapter = self._parts.adapter
        if old is not None and adapter is not None and context.shift is not None:
            old = replace(old, actions=adapter.to_model(old.actions, context.shift))
        plain = None
        if context.plain is not None and self.conditioning is not None:
            plain = (context.plain, self.conditioning.guidance)
        chunks = integrate(self._expert, context.prefix, context.state, start, self.num_steps, plain, old)
        out: FloatArray = chunks[..., : self._spec.action_dim].float().cpu().numpy()
        if not np.isfinite(out).all():
            raise BackendError("the model produced numbers that are not finite")
        if adapter is not None and context.shift is not None:
            out = adapter.to_contract(out, context.shift)
        return np.ascontiguousarray(out)


def cast_parameters(model: nn.Module, dtype: torch.dtype) -> None:
    """Change the number format of the parameters alone.

    `Module.to` would round the frequencies of positions and flow times as well, and bfloat16 cannot tell them apart.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype)


def sizes_of(config: PI0Config) -> NetworkSizes:
    """Sizes of a network."""
    tower = config.vlm_config.vision_config
    return NetworkSizes(
        image_size_px=int(tower.image_size),
        image_tokens=int((tower.image_size // tower.patch_size) ** 2),
        horizon=int(config.chunk_size),
        state_dim=int(config.max_state_dim),
        action_dim=int(config.max_action_dim),
    )
