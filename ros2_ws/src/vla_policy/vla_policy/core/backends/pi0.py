# SPDX-License-Identifier: Apache-2.0
"""PI0 of any size from a published checkpoint directory.

Read from disk only: `config.json` (transformers' or LeRobot's), safetensors (one file or sharded), the tokenizer's
files, and `stats.json` beside them. Legend: N candidates, S prefix tokens, H horizon, A action dims, P state dims.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import ConfigDict
from torch import Tensor
from transformers import AutoTokenizer, PI0Config, PI0ForConditionalGeneration

from vla_policy.core.expert import ExpertStep, integrate
from vla_policy.core.files import CheckpointError, model_directory
from vla_policy.core.flow import Prefix, encode_prefix
from vla_policy.core.normalise import PolicyStats
from vla_policy.core.preprocess import pixels_from_uint8
from vla_policy.core.protocol import BackendError, FloatArray, Observation, ObservationError, PolicySpec
from whetstone_common.core.foreign import OpenSchema, read_json

PROMPT_LENGTH = 48  # the published models were trained with prompts padded to this
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Prompter(Protocol):
    """Instruction -> token ids."""

    def __call__(self, instruction: str) -> tuple[Tensor, Tensor | None]:
        """Returns input_ids [1, S] and attention_mask [1, S], or None when nothing is padding."""
        ...


class Featurizer(Protocol):
    """Final prefix embeddings -> what small networks see."""

    @property
    def dim(self) -> int:
        """Length of the vector."""
        ...

    def __call__(self, last: Tensor) -> Tensor:
        """[1, S, D] -> [dim]."""
        ...


@dataclass(frozen=True)
class MeanFeaturizer:
    """Mean of the prefix embeddings: for checkpoints that come without an RL token."""

    dim: int

    def __call__(self, last: Tensor) -> Tensor:
        """Averages over tokens."""
        return last[0].float().mean(dim=0)


@dataclass(frozen=True)
class Pi0Context:
    """What `prefix` leaves for `denoise` and `features`.

    Attributes:
        prefix: keys and values of one observation.
        state: [1, P] normalised, zero-padded to what the model takes.
        proprio: float32 [P'] normalised, unpadded.
    """

    prefix: Prefix
    state: Tensor
    proprio: FloatArray


@dataclass(frozen=True)
class Parts:
    """What a loader hands to the backend."""

    model: PI0ForConditionalGeneration
    stats: PolicyStats
    prompter: Prompter
    featurizer: Featurizer
    model_id: str


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
    ) -> None:
        """Wraps loaded parts.

        Args:
            parts: model and what belongs to it.
            num_steps: Euler steps; the model's own number by default.
            num_threads: torch threads of this process; 0 leaves them.
            dtype: `float32` or `bfloat16` for the network.
            device: torch device.
        """
        if dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype!r}, allowed: {sorted(DTYPES)}")
        if num_threads:
            torch.set_num_threads(num_threads)
        self._device, self._dtype = torch.device(device), DTYPES[dtype]
        self.model = parts.model.eval().to(device=self._device, dtype=self._dtype)
        self._parts = parts
        self._expert = ExpertStep(self.model).to(device=self._device)
        config = parts.model.config
        self.num_steps = num_steps or int(config.num_inference_steps)
        self._spec = spec_of(
            parts.model.config, parts.stats, parts.model_id, parts.featurizer.dim + parts.stats.proprio.dim
        )
        if self._spec.proprio_dim > config.max_state_dim:
            raise CheckpointError(f"stats have {self._spec.proprio_dim} state dims, model {config.max_state_dim}")

    @classmethod
    def load(cls, directory: str, **options: Any) -> Pi0Backend:
        """Loads a published checkpoint directory; see the class for `options`."""
        return cls(load_published(Path(directory)), **options)

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
        self._parts.prompter(words)

    @torch.inference_mode()
    def prefix(self, observation: Observation) -> Pi0Context:
        """Encodes an observation once."""
        self._spec.check(observation)
        images = np.stack([observation.images[name] for name in self._spec.cameras])
        pixels = pixels_from_uint8(torch.from_numpy(images)[None]).to(self._device, self._dtype)
        ids, mask = self._parts.prompter(observation.instruction)
        mask = None if mask is None else mask.to(self._device)
        prefix = encode_prefix(self.model, ids.to(self._device), pixels, None, mask)
        proprio = self._parts.stats.proprio.normalise(observation.proprio)
        state = torch.zeros(1, self.model.config.max_state_dim, device=self._device, dtype=self._dtype)
        state[0, : proprio.size] = torch.from_numpy(proprio)
        return Pi0Context(prefix, state, proprio)

    @torch.inference_mode()
    def features(self, context: Pi0Context) -> FloatArray:
        """Compact feature of the prefix, then normalised proprioception."""
        token = self._parts.featurizer(context.prefix.last).float().cpu().numpy()
        return np.concatenate([token, context.proprio]).astype(np.float32)

    @torch.inference_mode()
    def denoise(self, context: Pi0Context, noise: FloatArray) -> FloatArray:
        """N chunks as one batch."""
        self._spec.check_noise(noise)
        start = torch.from_numpy(np.ascontiguousarray(noise)).to(self._device, self._dtype)
        chunks = integrate(self._expert, context.prefix, context.state, start, self.num_steps)
        out: FloatArray = chunks[..., : self._spec.action_dim].float().cpu().numpy()
        if not np.isfinite(out).all():
            raise BackendError("the model produced numbers that are not finite")
        return np.ascontiguousarray(out)


def spec_of(config: PI0Config, stats: PolicyStats, model_id: str, feature_dim: int) -> PolicySpec:
    """What a model of that configuration and those statistics expects and returns."""
    size = int(config.vlm_config.vision_config.image_size)
    return PolicySpec(
        model_id=model_id,
        cameras=stats.cameras,
        image_height_px=size,
        image_width_px=size,
        proprio_dim=stats.proprio.dim,
        horizon=int(config.chunk_size),
        action_dim=stats.action.dim,
        noise_dim=int(config.max_action_dim),
        dt_s=stats.dt_s,
        action_space=stats.action_space,
        action_scale=stats.action.std,
        action_offset=stats.action.mean,
        feature_dim=feature_dim,
        instructions=stats.instructions,
    )


# -- loading ------------------------------------------------------------------------------------------------------


class _Config(OpenSchema):
    model_config = ConfigDict(extra="allow")


def read_config(directory: Path) -> PI0Config:
    """PI0 configuration, in transformers' own form or in LeRobot's.

    Raises:
        CheckpointError: the file is absent, or of another model.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    body = read_json(path, _Config, CheckpointError).model_dump()
    if body.get("model_type") == "pi0":
        return PI0Config.from_dict(body)
    if body.get("type") == "pi0":
        keys = ("chunk_size", "max_state_dim", "max_action_dim", "num_inference_steps")
        return PI0Config(**{key: body[key] for key in keys if key in body})
    raise CheckpointError(f"{path} describes {body.get('model_type') or body.get('type')!r}, not pi0")


def load_weights(directory: Path, config: PI0Config) -> PI0ForConditionalGeneration:
    """Weights from safetensors, with the published names or transformers' own; nothing may be absent or left over.

    Raises:
        CheckpointError: a tensor is missing, unknown, of another shape or not finite.
    """
    if not any(directory.glob("*.safetensors")):
        raise CheckpointError(f"{directory} has no safetensors file")
    try:
        model, found = PI0ForConditionalGeneration.from_pretrained(
            directory,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{directory} could not be loaded: {error}") from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if found.get(kind):
            raise CheckpointError(f"{directory}: {kind.replace('_', ' ')}, first {sorted(map(str, found[kind]))[0]}")
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{directory}: {name!r} is not finite")
    return model  # type: ignore[no-any-return]


class PublishedPrompter:
    """The published prompt: image placeholders, `<bos>`, words and a line break, padded to a fixed length."""

    def __init__(self, directory: Path, config: PI0Config, cameras: int) -> None:
        """Reads the tokenizer's files from the checkpoint directory."""
        self._tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        vision = config.vlm_config.vision_config
        per_image = (vision.image_size // vision.patch_size) ** 2
        self._images = [int(config.vlm_config.image_token_id)] * (per_image * cameras)

    def __call__(self, instruction: str) -> tuple[Tensor, Tensor | None]:
        """Ids and mask, [1, S]."""
        words = self._tokenizer(f"{instruction}\n", add_special_tokens=False)["input_ids"]
        bos = self._tokenizer.bos_token_id
        prompt = ([bos] if bos is not None else []) + list(words)
        if len(prompt) > PROMPT_LENGTH:
            raise ObservationError(f"instruction has {len(prompt)} tokens, at most {PROMPT_LENGTH}")
        padding = PROMPT_LENGTH - len(prompt)
        ids = self._images + prompt + [int(self._tokenizer.pad_token_id or 0)] * padding
        mask = [1] * (len(ids) - padding) + [0] * padding
        return torch.tensor([ids]), torch.tensor([mask])


def load_published(directory: Path) -> Parts:
    """Everything of a published checkpoint directory.

    Raises:
        CheckpointError: a file or a tensor is not what it should be.
    """
    with model_directory(directory):
        config = read_config(directory)
        stats_path = directory / "stats.json"
        if not stats_path.is_file():
            raise CheckpointError(f"{stats_path} is missing: actions cannot be brought to physical units without it")
        stats = PolicyStats.load(stats_path)
        return Parts(
            model=load_weights(directory, config),
            stats=stats,
            prompter=PublishedPrompter(directory, config, len(stats.cameras)),
            featurizer=MeanFeaturizer(int(config.vlm_config.text_config.hidden_size)),
            model_id=directory.name,
        )
