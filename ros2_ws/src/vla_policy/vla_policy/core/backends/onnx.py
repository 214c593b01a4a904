# SPDX-License-Identifier: Apache-2.0
"""A PI0 exported to two ONNX graphs and run by ONNX Runtime.

`prefix.onnx` turns pixels and ids into keys, values and the feature; `denoise.onnx` is one Euler step. TensorRT or
CUDA are used when the installed runtime has them, the CPU otherwise.
"""

from __future__ import annotations

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
from vla_policy.core.prompter import Prompter, WordPrompter
from vla_policy.core.protocol import BackendError, FloatArray, Observation, PolicySpec
from vla_policy.core.tokenizer import WordTokenizer
from whetstone_common.core.foreign import Name, OpenModel, reading

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
GRAPHS = ("prefix.onnx", "denoise.onnx")
PREFIX_INPUTS = ("pixels", "input_ids", "attention_mask", "proprio")
PREFIX_OUTPUTS = ("keys", "values", "seen", "feature")
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
        self._spec.check(observation)
        images = np.stack([observation.images[name] for name in self._spec.cameras])
        pixels = np.moveaxis(images[None], -1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1.0)
        proprio = self._stats.proprio.normalise(observation.proprio)
        state = np.zeros((1, self._state_dim), dtype=np.float32)
        state[0, : proprio.size] = proprio
        memory, feature = self._encode(pixels, self._words(observation.instruction), proprio)
        plain = None
        if self.conditioning is not None and self.conditioning.needs_plain:
            plain = self._encode(pixels, observation.instruction, proprio)[0] | {"state": state}
        token, readouts = np.split(feature, [len(feature) - len(self._spec.readout_names)])
        return OnnxContext(memory | {"state": state}, np.concatenate([token, proprio, readouts]), plain)

    def _words(self, instruction: str) -> str:
        return instruction if self.conditioning is None else self.conditioning.prompt(instruction)

    def _encode(
        self, pixels: FloatArray, words: str, proprio: FloatArray
    ) -> tuple[dict[str, NDArray[Any]], FloatArray]:
        ids, mask = self._prompter(words)
        feeds = {
            "pixels": pixels,
            "input_ids": ids,
            "attention_mask": np.ones_like(ids) if mask is None else mask,
            "proprio": proprio[None],
        }
        wanted = {i.name for i in self._prefix.get_inputs()}
        keys, values, seen, feature = self._prefix.run(None, {k: v for k, v in feeds.items() if k in wanted})
        return {"keys": keys, "values": values, "seen": seen}, feature

    def features(self, context: OnnxContext) -> FloatArray:
        """Compact feature of the prefix, normalised proprioception, then what the eyes read."""
        return context.features

    def denoise(self, context: OnnxContext, noise: FloatArray, old: ChunkPrefix | None = None) -> FloatArray:
        """N chunks as one batch; real-time chunking without gradients: the identity for the Jacobian."""
        self._spec.check_noise(noise)
        x = np.ascontiguousarray(noise, dtype=np.float32)
        stride = np.asarray(1.0 / self.num_steps, dtype=np.float32)
        for number in range(self.num_steps):
            time = np.full(len(x), 1.0 - number / self.num_steps, dtype=np.float32)
            point = {"noisy": x, "time": time, "stride": stride}
            (x,) = self._step.run(None, context.memory | point)
            if context.plain is not None and self.conditioning is not None:
                # The next point is affine in the velocity, so guiding one guides the other.
                x = guided(self._step.run(None, context.plain | point)[0], x, self.conditioning.guidance)
            if old is not None:
                x = step_towards(point["noisy"], x, 1.0 - number / self.num_steps, self.num_steps, old)
        out: FloatArray = np.ascontiguousarray(x[..., : self._spec.action_dim])
        if not np.isfinite(out).all():
            raise BackendError("the model produced numbers that are not finite")
        return out


def _prompter_of(directory: Path, image_tokens: int, cameras: int) -> Prompter:
    if (directory / "vocab.json").is_file():
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
    return session
