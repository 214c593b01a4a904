# SPDX-License-Identifier: Apache-2.0
"""The training loop as a value: a step is a pure function of (weights, seed, step number).

Randomness is drawn per step from (seed, step), so a resumed run continues as if it had never stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PI0ForConditionalGeneration

from vla_policy.core.architecture import PocketShape, build_model, pocket_config
from vla_policy.core.files import CheckpointError, load_strictly, read_manifest, read_tensors, write_manifest
from vla_policy.core.flow import encode_prefix
from vla_policy.core.preprocess import pixels_from_uint8, prompt_ids
from vla_policy.core.tokenizer import WordTokenizer
from vla_policy.core.training.dataset import Batch, ChunkDataset
from vla_policy.core.training.losses import FlowTime, Heads, Inputs, flow_loss, naming_targets

CHECKPOINT_FILES = ("model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json")


@dataclass(frozen=True)
class TrainConfig:
    """Hyperparameters of one run.

    Attributes:
        steps: length of the learning-rate schedule.
        batch: windows per step.
        scenes: frames per step that serve detection alone, drawn from all demonstrations and scenes.
        noises: flow samples per window.
        learning_rate: peak.
        warmup_steps: linear rise.
        final_share: learning rate at the end, as a share of the peak.
        weight_decay: of AdamW.
        clip_norm: of the gradient.
        ema_decay: of the averaged weights that are shipped.
        detection_weight: of the detection loss.
        colour_jitter: each colour channel is scaled and moved by up to this share, so that a layout is not known
            by its table's colour.
        shift_px: images are moved by up to this many pixels at random; 0 for not.
        seed: of everything.
        bf16: bfloat16 autocast (AMX on CPUs that have it).
        compiled: torch.compile of the loss.
    """

    steps: int = 8000
    batch: int = 16
    scenes: int = 28
    noises: int = 4
    learning_rate: float = 1e-3
    warmup_steps: int = 300
    final_share: float = 0.03
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    detection_weight: float = 1.0
    colour_jitter: float = 0.15
    shift_px: int = 0
    seed: int = 0
    bf16: bool = True
    compiled: bool = True

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then cosine."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = min(1.0, (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps))
        floor = self.learning_rate * self.final_share
        return floor + (self.learning_rate - floor) * 0.5 * (1.0 + math.cos(math.pi * done))


@dataclass(frozen=True)
class StepResult:
    """Losses of one step."""

    step: int
    flow: float
    detection: float
    grad_norm: float
    rate: float


class Trainer:
    """Model, averaged weights, optimiser and step counter."""

    def __init__(self, config: TrainConfig, shape: PocketShape, data: ChunkDataset, tokenizer: WordTokenizer) -> None:
        """Builds fresh weights from the seed."""
        self.config, self.shape, self.data, self.tokenizer = config, shape, data, tokenizer
        torch.manual_seed(config.seed)
        self.model: PI0ForConditionalGeneration = build_model(pocket_config(shape, tokenizer.vocab_size))
        self.model.set_attn_implementation("eager")  # the fused CPU kernel's backward is several times slower
        self.heads = Heads(shape, tokenizer.vocab_size)
        self.step = 0
        self._ids = prompt_ids(tokenizer, data.instructions, shape, cameras=2)
        self._average = {k: v.detach().clone() for k, v in self._weights().items()}
        parameters = list(self._parameters().values())
        self._optimizer = torch.optim.AdamW(
            parameters, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
        )
        self._loss: Callable[..., tuple[Tensor, Tensor]] = torch.compile(flow_loss) if config.compiled else flow_loss

    def _parameters(self) -> dict[str, Tensor]:
        named = [(f"model.{n}", p) for n, p in self.model.named_parameters()]
        return dict(named + [(f"head.{n}", p) for n, p in self.heads.named_parameters()])

    def _weights(self) -> dict[str, Tensor]:
        named = [(f"model.{n}", p) for n, p in self.model.state_dict().items()]
        return dict(named + [(f"head.{n}", p) for n, p in self.heads.state_dict().items()])

    def inputs(self, batch: Batch, generator: torch.Generator, ids: Tensor) -> Inputs:
        """Puts a batch and its random draws together; `ids` are the prompts of the batch's data set."""
        repeats = self.config.noises
        count, horizon, dims = batch.actions.shape
        images = batch.images
        prompts = ids[torch.from_numpy(batch.instruction)]
        return Inputs(
            input_ids=prompts,
            pixel_values=pixels_from_uint8(torch.from_numpy(images)),
            camera_mask=torch.ones(images.shape[:2], dtype=torch.bool),
            proprio=torch.from_numpy(batch.proprio),
            actions=torch.from_numpy(batch.actions),
            detection=torch.from_numpy(batch.detection),
            where=torch.from_numpy(batch.where),
            names=naming_targets(prompts, self.tokenizer.max_words),
            noise=torch.randn(count * repeats, horizon, dims, generator=generator),
            time=FlowTime().draw(generator, count * repeats),
        )

    def advance(self) -> StepResult:
        """One optimiser step."""
        config, step = self.config, self.step
        rng = np.random.default_rng([config.seed, step])
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        batch = shifted(self.data.batch(rng, config.batch, config.scenes), rng, config.shift_px)
        inputs = self.inputs(batch, generator, self._ids)
        inputs = inputs._replace(pixel_values=jittered(inputs.pixel_values, generator, config.colour_jitter))
        rate = config.rate(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            flow, detection = self._loss(self.model, inputs, self.heads)
        (flow + config.detection_weight * detection).backward()
        norm = torch.nn.utils.clip_grad_norm_(list(self._parameters().values()), config.clip_norm)
        if not bool(torch.isfinite(norm)):
            raise FloatingPointError(f"the gradient of step {step} is not finite")
        self._optimizer.step()
        self._track()
        self.step += 1
        return StepResult(step, float(flow.detach()), float(detection.detach()), float(norm), rate)

    @torch.no_grad()
    def _track(self) -> None:
        # a young average would remember the random initialisation: its decay grows with the step
        decay = min(self.config.ema_decay, (1.0 + self.step) / (10.0 + self.step))
        now = self._weights()
        names = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_([self._average[n] for n in names], [now[n] for n in names], 1.0 - decay)

    @torch.no_grad()
    def validate(self, data: ChunkDataset, batches: int = 6) -> dict[str, float]:
        """Flow loss and detection error of the averaged weights on other demonstrations."""
        ids = prompt_ids(self.tokenizer, data.instructions, self.shape, cameras=2)
        live = {k: v.detach().clone() for k, v in self._weights().items()}
        self._install(self._average)
        flows, errors = [], []
        for number in range(batches):
            batch = data.batch(np.random.default_rng([99, number]), self.config.batch, self.config.scenes)
            inputs = self.inputs(batch, torch.Generator().manual_seed(number), ids)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16):
                flow, _ = self._loss(self.model, inputs, self.heads)
                seen = self._detect(inputs)
            flows.append(float(flow))
            scale = torch.tensor(self.data.detection_stats.std)
            errors.append(((seen - inputs.detection) * scale)[..., :3].norm(dim=-1).mean(0).numpy())
        self._install(live)
        error = np.mean(errors, axis=0)
        return {"flow": float(np.mean(flows)), "object_cm": 100 * float(error[0]), "goal_cm": 100 * float(error[1])}

    def _detect(self, inputs: Inputs) -> Tensor:
        prefix = encode_prefix(self.model, inputs.input_ids, inputs.pixel_values, inputs.camera_mask)
        seen: Tensor = self.heads.detection(prefix.last)
        return seen

    def _install(self, weights: Mapping[str, Tensor]) -> None:
        load_strictly(self.model, _part(weights, "model."), "weights")
        load_strictly(self.heads, _part(weights, "head."), "weights")

    # -- files ------------------------------------------------------------------------------------------------

    def save(self, directory: Path) -> None:
        """Writes a checkpoint; it counts once its manifest is there."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in self._weights().items()}, directory / "model.safetensors")
        save_file({k: v.contiguous() for k, v in self._average.items()}, directory / "ema.safetensors")
        save_file(self._moments(), directory / "optimizer.safetensors")
        state = {"step": self.step, "config": asdict(self.config), "shape": asdict(self.shape)}
        (directory / "state.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        self.tokenizer.save(directory / "vocab.json")
        self.data.stats.save(directory / "stats.json")
        write_manifest(directory, [*CHECKPOINT_FILES, "vocab.json", "stats.json"], {"step": self.step})

    def resume(self, directory: Path) -> None:
        """Continues from a checkpoint of the same run."""
        read_manifest(directory)
        state: dict[str, Any] = json.loads((directory / "state.json").read_text(encoding="utf-8"))
        if state["shape"] != asdict(self.shape):
            raise CheckpointError(f"{directory} was trained with another shape: {state['shape']}")
        self._install(read_tensors(directory / "model.safetensors"))
        average = read_tensors(directory / "ema.safetensors")
        self._average = {k: average[k].clone() for k in self._average}
        self._restore_moments(read_tensors(directory / "optimizer.safetensors"))
        self.step = int(state["step"])

    def start_from(self, directory: Path) -> None:
        """Takes over a model: the averaged one of a checkpoint, with those of its heads that fit, or a shipped one."""
        if (directory / "ema.safetensors").is_file():
            average = read_tensors(directory / "ema.safetensors")
            load_strictly(self.model, _part(average, "model."), str(directory))
            own = self.heads.state_dict()
            fitting = {k: v for k, v in _part(average, "head.").items() if k in own and v.shape == own[k].shape}
            self.heads.load_state_dict(own | fitting)
        else:
            load_strictly(self.model, read_tensors(directory / "model.safetensors"), str(directory))
        self._average = {k: v.detach().clone() for k, v in self._weights().items()}

    def averaged_model(self) -> dict[str, Tensor]:
        """The weights to ship, named as the model names them."""
        return _part(self._average, "model.")

    def _moments(self) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for name, parameter in self._parameters().items():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                out[f"{key}/{name}"] = value.detach().clone().contiguous()
        return out

    def _restore_moments(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters().items():
            keys = [k for k in ("step", "exp_avg", "exp_avg_sq") if f"{k}/{name}" in tensors]
            if keys:
                self._optimizer.state[parameter] = {k: tensors[f"{k}/{name}"].clone() for k in keys}


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def jittered(pixels: Tensor, generator: torch.Generator, most: float) -> Tensor:
    """[B, K, 3, S, S] in [-1, 1] with each frame's channels scaled and moved; both cameras alike."""
    draws = (torch.rand(2, pixels.shape[0], 1, 3, 1, 1, generator=generator) * 2.0 - 1.0) * most
    return (pixels * (1.0 + draws[0]) + draws[1]).clamp(-1.0, 1.0)


def shifted(batch: Batch, rng: np.random.Generator, most_px: int) -> Batch:
    """Moves every image by up to `most_px` pixels, repeating its border."""
    if most_px == 0:
        return batch
    count, cameras, size = batch.images.shape[:3]
    moves = rng.integers(-most_px, most_px + 1, size=(count, cameras, 2))
    rows = np.clip(np.arange(size) + moves[..., :1], 0, size - 1)  # [B, cameras, S]
    columns = np.clip(np.arange(size) + moves[..., 1:], 0, size - 1)
    b, c = np.arange(count)[:, None, None, None], np.arange(cameras)[None, :, None, None]
    images = batch.images[b, c, rows[..., :, None], columns[..., None, :]]
    return replace(batch, images=images)


def latest_checkpoint(directory: Path) -> Path | None:
    """The newest complete checkpoint of a run."""
    found = sorted(p for p in directory.glob("step-*") if (p / "manifest.json").is_file())
    return found[-1] if found else None
