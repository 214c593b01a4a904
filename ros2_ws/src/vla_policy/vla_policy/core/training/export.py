# SPDX-License-Identifier: Apache-2.0
"""From a training checkpoint to the sealed directory that the `pocket` backend loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vla_policy.core.architecture import PocketShape, pocket_config
from vla_policy.core.backends.pocket import EYES, REQUIRED
from vla_policy.core.eyes import Eyes
from vla_policy.core.files import read_manifest, write_manifest
from vla_policy.core.normalise import PolicyStats
from vla_policy.core.rl_token import TokenEncoder, TokenShape
from vla_policy.core.tensor_files import read_tensors
from vla_policy.core.token_files import ENCODER_FILE
from vla_policy.core.tokenizer import WordTokenizer
from whetstone_common.core.outputs import new_folder


def shape_of(checkpoint: Path) -> PocketShape:
    """The model's shape as the checkpoint records it."""
    state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    return PocketShape(**state["shape"])


def token_shape_of(shape: PocketShape, cameras: int = 2) -> TokenShape:
    """An RL token that fits a pocket VLA."""
    images = (shape.image_size_px // shape.patch_size_px) ** 2 * cameras
    return TokenShape(embedding_dim=shape.vlm_width, count=images + 2)


def export(
    checkpoint: Path,
    out: Path,
    *,
    model_id: str,
    encoder: TokenEncoder | None = None,
    eyes: Eyes | None = None,
    flow_steps: int | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes the averaged weights in bfloat16 with everything the backend needs.

    Args:
        checkpoint: sealed training checkpoint.
        out: directory to fill; an old manifest there is removed first.
        model_id: name of these weights.
        encoder: trained RL token; without it a random one is written, good for nothing but judging the policy.
        eyes: trained for this policy; without them its features end with proprioception.
        flow_steps: Euler steps the policy takes unless told otherwise; the shape's own by default.
        extra: further entries of the manifest.
    """
    manifest = read_manifest(checkpoint)
    shape = shape_of(checkpoint)
    if flow_steps is not None:
        shape = replace(shape, flow_steps=flow_steps)
    tokenizer = WordTokenizer.load(checkpoint / "vocab.json")
    out.mkdir(parents=True, exist_ok=True)
    (out / "manifest.json").unlink(missing_ok=True)
    weights = read_tensors(checkpoint / "ema.safetensors")
    model = {k.removeprefix("model."): v for k, v in weights.items() if k.startswith("model.")}
    save_file({k: _half(v) for k, v in model.items()}, out / "model.safetensors")
    config = pocket_config(shape, tokenizer.vocab_size).to_dict()
    (out / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    token_shape = token_shape_of(shape) if encoder is None else encoder.shape
    if encoder is None:
        torch.manual_seed(0)
        encoder = TokenEncoder(token_shape)
    save_file({k: v.contiguous() for k, v in encoder.state_dict().items()}, out / ENCODER_FILE)
    for name in ("stats.json", "vocab.json"):
        shutil.copyfile(checkpoint / name, out / name)
    body = {"model_id": model_id, "step": manifest["step"], "rl_token": asdict(token_shape), **(extra or {})}
    if eyes is not None:
        body["eyes"] = _write_eyes(out, eyes)
    write_manifest(out, [*REQUIRED, EYES] if eyes is not None else REQUIRED, body)


def _write_eyes(out: Path, eyes: Eyes) -> dict[str, Any]:
    save_file({name: value.contiguous() for name, value in eyes.state_dict().items()}, out / EYES)
    return asdict(eyes.shape)


def export_finetuned(
    source: Path, out: Path, model: nn.Module, extra: Mapping[str, Any], stats: PolicyStats | None = None
) -> None:
    """Writes a pocket directory like another, with the weights of a model that was fine-tuned from it.

    Args:
        source: pocket directory it was loaded from.
        out: directory to make; it appears when it is whole.
        model: of the same shape.
        extra: further entries of the manifest.
        stats: statistics that it was trained with, those of the source by default.

    Raises:
        FileExistsError: there is something of that name.
    """
    manifest = read_manifest(source)
    files = list(manifest.pop("files"))
    with new_folder(out) as unfinished:
        for name in files:
            shutil.copyfile(source / name, unfinished / name)
        wanted = read_tensors(source / "model.safetensors")  # tied weights are stored once
        tensors = {name: value for name, value in model.state_dict().items() if name in wanted}
        save_file({name: _half(value) for name, value in tensors.items()}, unfinished / "model.safetensors")
        if stats is not None:
            stats.save(unfinished / "stats.json")
        write_manifest(unfinished, files, manifest | {"model_id": f"{manifest['model_id']}-finetuned"} | dict(extra))


def _half(tensor: Tensor) -> Tensor:
    return tensor.to(torch.bfloat16).contiguous() if tensor.is_floating_point() else tensor.contiguous()
