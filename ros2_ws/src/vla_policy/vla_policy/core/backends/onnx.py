# SPDX-License-Identifier: Apache-2.0
"""A PI0 exported to two ONNX graphs and run by ONNX Runtime.

`prefix.onnx` turns pixels and ids into keys, values and the feature; `denoise.onnx` is one Euler step. TensorRT or
CUDA are used when the installed runtime has them, the CPU otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import Field

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends.spec import NetworkSizes, Size, spec_of
from vla_policy.core.chunk_prefix import ChunkPrefix, step_towards
from vla_policy.core.conditioning import conditioning_in, guided, with_guidance
from vla_policy.core.files import manifest_as, model_directory, read_manifest
from vla_policy.core.normalise import PolicyStats
from vla_policy.core.prompter import Prompt, Prompter, WordPrompter
from vla_policy.core.protocol import BackendError, FloatArray, Observation, PolicySpec
from vla_policy.core.published.detect import is_pocket
from vla_policy.core.tokenizer import WordTokenizer
from whetstone_common.core.foreign import Name, OpenModel, reading

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
GRAPHS = ("prefix.onnx", "denoise.onnx")
PREFIX_INPUTS = ("pixels", "input_ids", "attention_mask", "proprio")
PREFIX_OUTPUTS = ("keys", "values", "seen", "feature")
_AXES = {"keys": 1, "values": 1}  # of the observations; the first one elsewhere
STEP_INPUTS, STEP_OUTPUTS = ("keys", "values", "seen", "state", "noisy", "time", "stride"), ("next",)


@dataclass(frozen=True)
class OnnxContext:
    """What `prefix` leaves: inputs of the denoise graph and the features; `plain` without the words that guide."""

    memory: dict[str, NDArray[Any]]
    features: FloatArray
    plain: dict[str, NDArray[Any]] | None = None


class _OnnxEntries(OpenModel):
    model_id: Name
    network: NetworkSizes
    num_steps: Size
    feature_dim: Size
    readout_names: list[Name] = Field(default_factory=list)
    feature_version: str = ""


class OnnxBackend:
    """Serves an exported directory."""

    def __init__(
        self, directory: Path, *, num_steps: int | None = None, num_threads: int = 0, guidance: float | None = None
    ) -> None:
        """Opens both graphs; `num_threads` 0 leaves the number to the runtime, `guidance` is as in `Pi0Backend`."""
        with model_directory(directory):
            self._load(directory, num_steps, num_threads, guidance)

    def _load(self, directory: Path, num_steps: int | None, num_threads: int, guidance: float | None) -> None:
        manifest = read_manifest(directory)
        if any(name not in manifest["files"] for name in GRAPHS):
            raise CheckpointError(f"{directory}: the manifest does not list {GRAPHS}")
        entries = manifest_as(_OnnxEntries, manifest, directory)
        self.conditioning = with_guidance(conditioning_in(manifest, directory), guidance, entries.model_id)
        self._prefix, self._step = (_session(directory / name, num_threads) for name in GRAPHS)
        self.num_steps = num_steps or entries.num_steps
        self._stats = PolicyStats.load(directory / "stats.json")
        self._state_dim = entries.network.state_dim
        self._prompter = _prompter_of(directory, entries.network.image_tokens, len(self._stats.cameras))
        self._spec = spec_of(
            entries.network,
            self._stats,
            entries.model_id,
            entries.feature_dim,
            readout_names=tuple(entries.readout_names),
            feature_version=entries.feature_version,
        )

    @classmethod
    def load(cls, directory: str, **options: Any) -> OnnxBackend:
        """Loads an exported directory; see the class for `options`."""
        return cls(Path(directory), **options)

    @property
    def spec(self) -> PolicySpec:
        """What this policy takes and gives."""
        return self._spec

    def warmup(self) -> None:
        """One pass with one and one with eight candidates."""
        spec = self._spec
        images = {n: np.zeros((spec.image_height_px, spec.image_width_px, 3), np.uint8) for n in spec.cameras}
        words = spec.instructions[0] if spec.instructions else "do nothing"
        context = self.prefix(Observation(images, np.asarray(self._stats.proprio.mean, np.float32), words))
        for count in (1, 8):
            self.denoise(context, np.zeros((count, *spec.noise_shape), dtype=np.float32))

    def check_instruction(self, words: str) -> None:
        """See `Backend.check_instruction`."""
        self._prompter(self._words(words))

    def prefix(self, observation: Observation) -> OnnxContext:
        """Encodes an observation once."""
        return self.prefix_batch([observation])[0]

    def prefix_batch(self, observations: Sequence[Observation]) -> list[OnnxContext]:
        """Encodes several observations in one pass."""
        for observation in observations:
            self._spec.check(observation)
        words = [self._words(o.instruction) for o in observations]
        prompts = [self._prompter(each) for each in words]
        images = np.stack([[o.images[name] for name in self._spec.cameras] for o in observations])
        pixels = np.moveaxis(images, -1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1.0)
        proprio = np.stack([self._stats.proprio.normalise(o.proprio) for o in observations])
        state = np.zeros((len(observations), self._state_dim), dtype=np.float32)
        state[:, : proprio.shape[1]] = proprio
        memory, features = self._encode(pixels, prompts, proprio)
        plain = None
        if self.conditioning is not None and self.conditioning.needs_plain:
            plain = self._encode(pixels, [self._prompter(o.instruction) for o in observations], proprio)[0]
            plain |= {"state": state}
        tokens, readouts = np.split(features, [features.shape[1] - len(self._spec.readout_names)], axis=1)
        return [
            OnnxContext(
                _row(memory | {"state": state}, row),
                np.concatenate([tokens[row], proprio[row], readouts[row]]),
                None if plain is None else _row(plain, row),
            )
            for row in range(len(observations))
        ]

    def _words(self, instruction: str) -> str:
        return instruction if self.conditioning is None else self.conditioning.prompt(instruction)

    def _encode(
        self, pixels: FloatArray, prompts: Sequence[Prompt], proprio: FloatArray
    ) -> tuple[dict[str, NDArray[Any]], FloatArray]:
        ids = np.concatenate([each for each, _ in prompts])
        masks = [mask for _, mask in prompts if mask is not None]
        feeds = {
            "pixels": pixels,
            "input_ids": ids,
            "attention_mask": np.concatenate(masks) if masks else np.ones_like(ids),
            "proprio": proprio,
        }
        wanted = {i.name for i in self._prefix.get_inputs()}
        keys, values, seen, feature = self._prefix.run(None, {k: v for k, v in feeds.items() if k in wanted})
        return {"keys": keys, "values": values, "seen": seen}, feature

    def features(self, context: OnnxContext) -> FloatArray:
        """Compact feature of the prefix, normalised proprioception, then what the eyes read."""
        return context.features

    def denoise(self, context: OnnxContext, noise: FloatArray, old: ChunkPrefix | None = None) -> FloatArray:
        """N chunks as one batch; real-time chunking without gradients: the identity for the Jacobian."""
        return self.denoise_batch([context], [noise], [] if old is None else [old])[0]

    def denoise_batch(
        self, contexts: Sequence[OnnxContext], noises: Sequence[FloatArray], olds: Sequence[ChunkPrefix] = ()
    ) -> list[FloatArray]:
        """See `BatchBackend.denoise_batch`."""
        for noise in noises:
            self._spec.check_noise(noise)
        memory = _joined([context.memory for context in contexts])
        plains = [context.plain for context in contexts if context.plain is not None]
        plain = _joined(plains) if plains else None
        x = np.stack(noises).astype(np.float32, copy=False)
        stride = np.asarray(1.0 / self.num_steps, dtype=np.float32)
        for number in range(self.num_steps):
            time = np.full(x.shape[1], 1.0 - number / self.num_steps, dtype=np.float32)
            point = {"noisy": x, "time": time, "stride": stride}
            (x,) = self._step.run(None, memory | point)
            if plain is not None and self.conditioning is not None:
                # The next point is affine in the velocity, so guiding one guides the other.
                x = guided(self._step.run(None, plain | point)[0], x, self.conditioning.guidance)
            for row, old in enumerate(olds):
                x[row] = step_towards(point["noisy"][row], x[row], 1.0 - number / self.num_steps, self.num_steps, old)
        out = x[..., : self._spec.action_dim]
        if not np.isfinite(out).all():
            raise BackendError("the model produced numbers that are not finite")
        return [np.ascontiguousarray(each) for each in out]


def _row(tensors: Mapping[str, NDArray[Any]], row: int) -> dict[str, NDArray[Any]]:
    """One observation of several."""
    part = slice(row, row + 1)
    return {name: values[:, part] if _AXES.get(name, 0) else values[part] for name, values in tensors.items()}


def _joined(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The observations of several as one."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts], axis=_AXES.get(name, 0)) for name in parts[0]}


def _prompter_of(directory: Path, image_tokens: int, cameras: int) -> Prompter:
    if is_pocket(directory):
        return WordPrompter(WordTokenizer.load(directory / "vocab.json"), image_tokens * cameras)
    # transformers takes seconds to import
    from vla_policy.core.published.directory import read_config
    from vla_policy.core.published.prompt import published_prompter

    return published_prompter(directory, read_config(directory), cameras)


def _session(path: Path, num_threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]
    with reading(path, CheckpointError):
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    takes, gives = (PREFIX_INPUTS, PREFIX_OUTPUTS) if path.name == GRAPHS[0] else (STEP_INPUTS, STEP_OUTPUTS)
    inputs, outputs = ({value.name for value in values} for values in (session.get_inputs(), session.get_outputs()))
    if not inputs <= set(takes) or outputs != set(gives):
        raise CheckpointError(f"{path} takes {sorted(inputs)} and gives {sorted(outputs)}, wanted {takes} and {gives}")
    if any(value.name == "noisy" and len(value.shape) != 4 for value in session.get_inputs()):
        raise CheckpointError(f"{path} takes one observation at a time, as earlier exports did: export it anew")
    return session
