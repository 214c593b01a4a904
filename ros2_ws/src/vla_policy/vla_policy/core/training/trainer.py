# SPDX-License-Identifier: Apache-2.0
"""Training of the pocket VLA from nothing: its data, its losses and its checkpoints around the shared loop.

Randomness is drawn per step from (seed, step), so a resumed run continues as if it had never stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PI0ForConditionalGeneration

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.architecture import PocketShape, build_model, pocket_config
from vla_policy.core.files import read_manifest, write_manifest
from vla_policy.core.flow import encode_prefix
from vla_policy.core.preprocess import pixels_from_uint8, prompt_ids
from vla_policy.core.tensor_files import load_strictly, read_tensors
from vla_policy.core.tokenizer import WordTokenizer
from vla_policy.core.training.dataset import ChunkBatch, ChunkDataset
from vla_policy.core.training.loop import LOOP_FILES, TrainingLoop, draws
from vla_policy.core.training.losses import FlowTime, Heads, Inputs, flow_loss, naming_targets
from vla_policy.core.training.settings import LoopConfig

CHECKPOINT_FILES = (*LOOP_FILES, "state.json")


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

    @property
    def loop(self) -> LoopConfig:
        """What the shared loop must know of it."""
        return LoopConfig(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup_steps=self.warmup_steps,
            final_share=self.final_share,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            ema_decay=self.ema_decay,
        )

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        return self.loop.rate(step)


@dataclass(frozen=True)
class StepResult:
    """Losses of one step."""

    step: int
    flow: float
    detection: float
    grad_norm: float
    rate: float


class PocketObjective(nn.Module):
    """Flow matching of chunks plus detection, as `TrainingLoop` takes it."""

    def __init__(self, model: PI0ForConditionalGeneration, heads: Heads, config: TrainConfig) -> None:
        """Names of parameters begin with `model.` and `head.`."""
        super().__init__()
        self.model, self.head = model, heads
        self._detection_weight = config.detection_weight
        self._loss: Callable[..., tuple[Tensor, Tensor]] = torch.compile(flow_loss) if config.compiled else flow_loss

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Losses by name."""
        flow, detection = self._loss(self.model, inputs, self.head)
        return {"loss": flow + self._detection_weight * detection, "flow": flow, "detection": detection}


class Trainer:
    """Model, data and the loop."""

    def __init__(self, config: TrainConfig, shape: PocketShape, data: ChunkDataset, tokenizer: WordTokenizer) -> None:
        """Builds fresh weights from the seed."""
        self.config, self.shape, self.data, self.tokenizer = config, shape, data, tokenizer
        torch.manual_seed(config.seed)
        self.model: PI0ForConditionalGeneration = build_model(pocket_config(shape, tokenizer.vocab_size))
        self.model.set_attn_implementation("eager")  # the fused CPU kernel's backward is several times slower
        self.heads = Heads(shape, tokenizer.vocab_size)
        self._ids = prompt_ids(tokenizer, data.instructions, shape, cameras=2)
        self._loop = TrainingLoop(PocketObjective(self.model, self.heads, config), config.loop, bf16=config.bf16)

    @property
    def step(self) -> int:
        """Steps done."""
        return self._loop.step

    def inputs(self, batch: ChunkBatch, generator: torch.Generator, ids: Tensor) -> Inputs:
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
        config = self.config
        rng, generator = draws(config.seed, self.step)
        batch = shifted(self.data.batch(rng, config.batch, config.scenes), rng, config.shift_px)
        inputs = self.inputs(batch, generator, self._ids)
        inputs = inputs._replace(pixel_values=jittered(inputs.pixel_values, generator, config.colour_jitter))
        done = self._loop.advance(inputs)
        return StepResult(done.step, done.losses["flow"], done.losses["detection"], done.grad_norm, done.rate)

    @torch.no_grad()
    def validate(self, data: ChunkDataset, batches: int = 6) -> dict[str, float]:
        """Flow loss and detection error of the averaged weights on other demonstrations."""
        ids = prompt_ids(self.tokenizer, data.instructions, self.shape, cameras=2)
        scale = torch.tensor(self.data.detection_stats.std)
        flows, errors = [], []
        with self._loop.with_average():
            for number in range(batches):
                batch = data.batch(np.random.default_rng([99, number]), self.config.batch, self.config.scenes)
                inputs = self.inputs(batch, torch.Generator().manual_seed(number), ids)
                flows.append(float(self._loop.losses(inputs)["flow"]))
                with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16):
                    seen = self._detect(inputs)
                errors.append(((seen - inputs.detection) * scale)[..., :3].norm(dim=-1).mean(0).numpy())
        error = np.mean(errors, axis=0)
        return {"flow": float(np.mean(flows)), "object_cm": 100 * float(error[0]), "goal_cm": 100 * float(error[1])}

    def _detect(self, inputs: Inputs) -> Tensor:
        prefix = encode_prefix(self.model, inputs.input_ids, inputs.pixel_values, inputs.camera_mask)
        seen: Tensor = self.heads.detection(prefix.last)
        return seen

    # -- files ------------------------------------------------------------------------------------------------

    def save(self, directory: Path) -> None:
        """Writes a checkpoint; it counts once its manifest is there."""
        directory.mkdir(parents=True, exist_ok=True)
        self._loop.save(directory)
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
        self._loop.resume(directory, int(state["step"]))

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
        self._loop.restart_average()

    def averaged_model(self) -> dict[str, Tensor]:
        """The weights to ship, named as the model names them."""
        return _part(self._loop.averaged(), "model.")


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def jittered(pixels: Tensor, generator: torch.Generator, most: float) -> Tensor:
    """[B, K, 3, S, S] in [-1, 1] with each frame's channels scaled and moved; both cameras alike."""
    draws = (torch.rand(2, pixels.shape[0], 1, 3, 1, 1, generator=generator) * 2.0 - 1.0) * most
    return (pixels * (1.0 + draws[0]) + draws[1]).clamp(-1.0, 1.0)


def shifted(batch: ChunkBatch, rng: np.random.Generator, most_px: int) -> ChunkBatch:
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
