# SPDX-License-Identifier: Apache-2.0
"""PI0 of any size: one prefix pass for an observation or several, any number of chunks from it.

How a checkpoint becomes `Parts` is in `core.published`. Legend: B observations, N candidates, S prefix tokens, H
horizon, A action dims, P state dims.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """Serves any PI0: one prefix pass, N noises of each observation as one batch on its cache."""

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
            sizes_of(config),
            parts.stats,
            parts.model_id,
            parts.feature_dim,
            parts.joint_names,
            parts.readout_names,
            parts.feature_version,
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

    def prefix(self, observation: Observation) -> Pi0Context:
        """Encodes an observation once."""
        return self.prefix_batch([observation])[0]

    @torch.inference_mode()
    def prefix_batch(self, observations: Sequence[Observation]) -> list[Pi0Context]:
        """Encodes several observations in one pass."""
        for observation in observations:
            self._spec.check(observation)
        ids, mask = _rows([self._prompt(o.instruction) for o in observations])
        images = np.stack([[o.images[name] for name in self._spec.cameras] for o in observations])
        full = pixels_from_uint8(torch.from_numpy(images)).to(self._device)
        pixels = full.to(self._dtype)
        prefix = self._encode(pixels, ids, mask)
        is_guided = self.conditioning is not None and self.conditioning.needs_plain
        words = [self._parts.prompt(o.instruction) for o in observations] if is_guided else []
        plain = self._encode(pixels, *_rows(words)) if words else None
        proprio = np.stack([self._parts.stats.proprio.normalise(o.proprio) for o in observations])
        readouts = self._read(full, ids, proprio)
        return [self._context(o, row, prefix, plain, proprio[row], readouts[row]) for row, o in enumerate(observations)]

    def _context(
        self,
        observation: Observation,
        row: int,
        prefix: Prefix,
        plain: Prefix | None,
        proprio: FloatArray,
        readouts: FloatArray,
    ) -> Pi0Context:
        adapter = self._parts.adapter
        numbers = proprio if adapter is None else adapter.state(observation.proprio)
        state = torch.zeros(1, self.model.config.max_state_dim, device=self._device, dtype=self._dtype)
        state[0, : numbers.size] = torch.from_numpy(numbers)
        shift = None if adapter is None else adapter.shift_at(observation.proprio)
        other = None if plain is None else plain.row(row)
        return Pi0Context(prefix.row(row), state, proprio, readouts, other, shift)

    def _read(self, pixels: Tensor, ids: Tensor, proprio: FloatArray) -> FloatArray:
        """Readouts [B, R] of the eyes."""
        if self._eyes is None:
            return np.zeros((len(proprio), 0), dtype=np.float32)
        words = ids[:, -self._eyes.shape.prompt_length :].to(self._device)
        seen: FloatArray = self._eyes(pixels, words, torch.from_numpy(proprio).to(self._device)).cpu().numpy()
        return seen

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
        compact = self._featurizer(last, seen)[0].float().cpu().numpy()
        return np.concatenate([compact, context.proprio, context.readouts]).astype(np.float32)

    def denoise(self, context: Pi0Context, noise: FloatArray, old: ChunkPrefix | None = None) -> FloatArray:
        """N chunks as one batch; with real-time chunking by gradients through the expert."""
        return self.denoise_batch([context], [noise], [] if old is None else [old])[0]

    def denoise_batch(
        self, contexts: Sequence[Pi0Context], noises: Sequence[FloatArray], olds: Sequence[ChunkPrefix] = ()
    ) -> list[FloatArray]:
        """See `BatchBackend.denoise_batch`."""
        if not olds:
            with torch.inference_mode():
                return self._denoise(contexts, noises, [])
        with torch.no_grad():
            return self._denoise([context.for_gradients() for context in contexts], noises, olds)

    def _denoise(
        self, contexts: Sequence[Pi0Context], noises: Sequence[FloatArray], olds: Sequence[ChunkPrefix]
    ) -> list[FloatArray]:
        for noise in noises:
            self._spec.check_noise(noise)
        start = torch.from_numpy(np.stack(noises)).to(self._device)
        pulls = [self._to_model(old, context) for old, context in zip(olds, contexts, strict=bool(olds))]
        plain = None
        others = [context.plain for context in contexts if context.plain is not None]
        if others and self.conditioning is not None:
            plain = (Prefix.joined(others), self.conditioning.guidance)
        prefix, state = Prefix.joined([c.prefix for c in contexts]), torch.cat([c.state for c in contexts])
        chunks = integrate(self._expert, prefix, state, start, self.num_steps, plain, pulls)
        out: FloatArray = chunks[..., : self._spec.action_dim].float().cpu().numpy()
        if not np.isfinite(out).all():
            raise BackendError("the model produced numbers that are not finite")
        return [self._to_contract(each, context) for each, context in zip(out, contexts, strict=True)]

    def _to_model(self, old: ChunkPrefix, context: Pi0Context) -> ChunkPrefix:
        adapter = self._parts.adapter
        if adapter is None or context.shift is None:
            return old
        return replace(old, actions=adapter.to_model(old.actions, context.shift))

    def _to_contract(self, chunks: FloatArray, context: Pi0Context) -> FloatArray:
        adapter = self._parts.adapter
        if adapter is not None and context.shift is not None:
            chunks = adapter.to_contract(chunks, context.shift)
        return np.ascontiguousarray(chunks)


def _rows(prompts: Sequence[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    """Ids and mask [B, S] of prompts, which a prompter makes of one length, all with a mask or none."""
    masks = [mask for _, mask in prompts if mask is not None]
    return torch.cat([ids for ids, _ in prompts]), torch.cat(masks) if masks else None


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
