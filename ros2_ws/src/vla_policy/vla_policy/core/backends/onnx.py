# SPDX-License-Identifier: Apache-2.0
"""A PI0 exported to two ONNX graphs and run by ONNX Runtime.

`prefix.onnx` turns pixels and ids into keys, values and the feature; `denoise.onnx` is one Euler step. TensorRT or
CUDA are used when the installed runtime has them, the CPU otherwise.
"""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from rl_methods.common.tensors import CheckpointError
from vla_policy.core.backends.pi0 import spec_of
from vla_policy.core.backends.pi0_parts import Parts, Prompter
from vla_policy.core.backends.pocket import WordPrompter
from vla_policy.core.chunk_prefix import ChunkPrefix, step_towards
from vla_policy.core.conditioning import conditioning_in, guided, with_guidance
from vla_policy.core.expert import ExpertStep, stack_prefix
from vla_policy.core.files import manifest_as, model_directory, read_manifest, write_manifest
from vla_policy.core.flow import encode_prefix
from vla_policy.core.normalise import PolicyStats
from vla_policy.core.preprocess import pixels_from_uint8
from vla_policy.core.protocol import BackendError, FloatArray, Observation, PolicySpec
from vla_policy.core.published.directory import PALIGEMMA, read_config
from vla_policy.core.published.prompt import PublishedPrompter, load_tokenizer
from vla_policy.core.tokenizer import WordTokenizer
from whetstone_common.core.foreign import Name, OpenModel, reading

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
GRAPHS = ("prefix.onnx", "denoise.onnx")
PREFIX_INPUTS = ("pixels", "input_ids", "attention_mask", "proprio")
PREFIX_OUTPUTS = ("keys", "values", "seen", "feature")
STEP_INPUTS, STEP_OUTPUTS = ("keys", "values", "seen", "state", "noisy", "time", "stride"), ("next",)


class _PrefixGraph(nn.Module):
    """Pixels, ids and proprioception to the tensors of `stack_prefix` and the feature, which ends with the readouts."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.model, self.featurizer, self.eyes = parts.model, parts.featurizer, parts.eyes
        if isinstance(encoder := getattr(parts.featurizer, "encoder", None), nn.Module):
            self.encoder = encoder  # so that the exporter sees its weights

    def forward(self, pixels: Tensor, input_ids: Tensor, attention_mask: Tensor, proprio: Tensor) -> tuple[Tensor, ...]:
        prefix = encode_prefix(self.model, input_ids, pixels, None, attention_mask)
        feature = self.featurizer(prefix.last)
        if self.eyes is not None:
            words = input_ids[:, -self.eyes.shape.prompt_length :]
            feature = torch.cat([feature, self.eyes(pixels, words, proprio)[0]])
        return (*stack_prefix(prefix), feature)


class _StepGraph(nn.Module):
    """One Euler step: x - stride * v(x, t)."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.step = ExpertStep(parts.model)

    def forward(
        self, keys: Tensor, values: Tensor, seen: Tensor, state: Tensor, noisy: Tensor, time: Tensor, stride: Tensor
    ) -> Tensor:
        return noisy - stride * self.step(keys, values, seen, state, noisy, time)


@torch.no_grad()
def export_onnx(parts: Parts, spec: PolicySpec, source: Path, out: Path, *, num_steps: int) -> None:
    """Writes the two graphs and what belongs to them.

    Args:
        parts: loaded model, float32 on the CPU.
        spec: its specification.
        source: directory it came from (tokenizer, statistics).
        out: directory to fill.
        num_steps: Euler steps the exported policy will take.
    """
    out.mkdir(parents=True, exist_ok=True)
    model = parts.model.eval().float()
    model.set_attn_implementation("eager")
    ids, mask = parts.prompter(spec.instructions[0] if spec.instructions else "go")
    mask = torch.ones_like(ids) if mask is None else mask
    pixels = torch.zeros(1, len(spec.cameras), 3, spec.image_height_px, spec.image_width_px)
    looked = (pixels, ids, mask, torch.zeros(1, spec.proprio_dim))
    prefix = _PrefixGraph(parts).eval()
    _export(prefix, looked, out / GRAPHS[0], PREFIX_INPUTS, PREFIX_OUTPUTS, {})
    keys, values, seen, _ = prefix(*looked)
    state = torch.zeros(1, model.config.max_state_dim)
    noisy, time = torch.randn(2, *spec.noise_shape), torch.ones(2)
    arguments = (keys, values, seen, state, noisy, time, torch.tensor(1.0 / num_steps))
    dynamic = {"noisy": {0: "candidates"}, "time": {0: "candidates"}, "next": {0: "candidates"}}
    _export(_StepGraph(parts).eval(), arguments, out / GRAPHS[1], STEP_INPUTS, STEP_OUTPUTS, dynamic)
    kept = ["stats.json", "config.json"]
    kept += [n for n in ("vocab.json", "tokenizer.json", "tokenizer_config.json") if (source / n).is_file()]
    for name in kept:
        shutil.copyfile(source / name, out / name)
    body = {"model_id": f"{parts.model_id}-onnx", "num_steps": num_steps, "feature_dim": spec.feature_dim}
    body["readout_names"] = list(spec.readout_names)
    body |= {} if parts.conditioning is None else parts.conditioning.entry()
    write_manifest(out, [*GRAPHS, *kept], body)


def _export(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    path: Path,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    dynamic: dict[str, dict[int, str]],
) -> None:
    # The tracing exporter: shapes are static but for the candidates, and its graphs need no external data file.
    # It does not know the fused encoder layer that torch takes in evaluation mode.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on tracing and indexing; the graphs are compared with torch in the tests
            torch.onnx.export(
                module,
                arguments,
                str(path),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes=dynamic,
                opset_version=17,
                dynamo=False,
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@dataclass(frozen=True)
class OnnxContext:
    """What `prefix` leaves: inputs of the denoise graph and the features; `plain` without the words that guide."""

    memory: dict[str, NDArray[Any]]
    features: FloatArray
    plain: dict[str, NDArray[Any]] | None = None


class _OnnxEntries(OpenModel):
    model_id: Name
    num_steps: Annotated[int, Field(ge=1)]
    feature_dim: Annotated[int, Field(ge=1)]
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
        config = read_config(directory)
        self._state_dim = int(config.max_state_dim)
        self._prompter = _prompter_of(directory, config, self._stats)
        self._spec = spec_of(
            config, self._stats, entries.model_id, entries.feature_dim, readout_names=tuple(entries.readout_names)
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
        pixels = pixels_from_uint8(torch.from_numpy(images)[None]).numpy()
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
            "input_ids": ids.numpy(),
            "attention_mask": (torch.ones_like(ids) if mask is None else mask).numpy(),
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


def _prompter_of(directory: Path, config: Any, stats: PolicyStats) -> Prompter:
    if not (directory / "vocab.json").is_file():
        tokenizer = load_tokenizer(directory, "", PALIGEMMA, int(config.vlm_config.text_config.vocab_size))
        return PublishedPrompter(tokenizer, config, len(stats.cameras))
    tower = config.vlm_config.vision_config
    tokens = (tower.image_size // tower.patch_size) ** 2 * len(stats.cameras)
    return WordPrompter(WordTokenizer.load(directory / "vocab.json"), int(tokens))


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
