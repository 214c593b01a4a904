# SPDX-License-Identifier: Apache-2.0
"""A PI0 becomes two ONNX graphs, `prefix.onnx` and `denoise.onnx`, in a directory that `OnnxBackend` serves.

Apart from the backend, since it needs torch and transformers, and who serves the graphs does not.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from vla_policy.core.backends.onnx import GRAPHS, PREFIX_INPUTS, PREFIX_OUTPUTS, STEP_INPUTS, STEP_OUTPUTS
from vla_policy.core.backends.pi0 import sizes_of
from vla_policy.core.backends.pi0_parts import Parts
from vla_policy.core.expert import ExpertStep, stack_prefix
from vla_policy.core.feature_version import FEATURE_VERSION
from vla_policy.core.files import write_manifest
from vla_policy.core.flow import encode_prefix
from vla_policy.core.protocol import PolicySpec

_BATCH, _CANDIDATES = "observations", "candidates"


class _PrefixGraph(nn.Module):
    """Pixels, ids and proprioception to the tensors of `stack_prefix` and the feature, which ends with the readouts."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.model, self.featurizer, self.eyes = parts.model, parts.featurizer, parts.eyes
        if isinstance(encoder := getattr(parts.featurizer, "encoder", None), nn.Module):
            self.encoder = encoder  # so that the exporter sees its weights

    def forward(self, pixels: Tensor, input_ids: Tensor, attention_mask: Tensor, proprio: Tensor) -> tuple[Tensor, ...]:
        prefix = encode_prefix(self.model, input_ids, pixels, None, attention_mask)
        feature = self.featurizer(prefix.last, attention_mask)
        if self.eyes is not None:
            words = input_ids[:, -self.eyes.shape.prompt_length :]
            feature = torch.cat([feature, self.eyes(pixels, words, proprio)], dim=1)
        return (*stack_prefix(prefix), feature)


class _StepGraph(nn.Module):
    """One Euler step of all observations: x - stride * v(x, t)."""

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
    ids, mask = parts.prompt(spec.instructions[0] if spec.instructions else "go")
    mask = torch.ones_like(ids) if mask is None else mask
    pixels = torch.zeros(2, len(spec.cameras), 3, spec.image_height_px, spec.image_width_px)
    looked = (pixels, ids.repeat(2, 1), mask.repeat(2, 1), torch.zeros(2, spec.proprio_dim))
    prefix = _PrefixGraph(parts).eval()
    memory = {"keys": {1: _BATCH}, "values": {1: _BATCH}, "seen": {0: _BATCH}}
    dynamic = memory | {name: {0: _BATCH} for name in (*PREFIX_INPUTS, "feature")}
    _export(prefix, looked, out / GRAPHS[0], PREFIX_INPUTS, PREFIX_OUTPUTS, dynamic)
    keys, values, seen, _ = prefix(*looked)
    state = torch.zeros(2, model.config.max_state_dim)
    noisy, time = torch.randn(2, 3, *spec.noise_shape), torch.ones(3)
    arguments = (keys, values, seen, state, noisy, time, torch.tensor(1.0 / num_steps))
    chunks = {0: _BATCH, 1: _CANDIDATES}
    dynamic = memory | {"state": {0: _BATCH}, "noisy": chunks, "time": {0: _CANDIDATES}, "next": chunks}
    _export(_StepGraph(parts).eval(), arguments, out / GRAPHS[1], STEP_INPUTS, STEP_OUTPUTS, dynamic)
    kept = ["stats.json", "config.json"]
    kept += [n for n in ("vocab.json", "tokenizer.json", "tokenizer_config.json") if (source / n).is_file()]
    for name in kept:
        shutil.copyfile(source / name, out / name)
    body = {"model_id": f"{parts.model_id}-onnx", "num_steps": num_steps, "feature_dim": spec.feature_dim}
    body |= {"network": sizes_of(model.config).model_dump(), "readout_names": list(spec.readout_names)}
    body |= {FEATURE_VERSION: spec.feature_version} if spec.feature_version else {}
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
    # The tracing exporter: shapes are static but for observations and candidates, and its graphs need no external data
    # file. It does not know the fused encoder layer that torch takes in evaluation mode.
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
