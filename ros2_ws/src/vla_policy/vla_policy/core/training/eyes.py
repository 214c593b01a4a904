# SPDX-License-Identifier: Apache-2.0
"""Trains the eyes on moments that policies visit; each moment with any instruction that fits its scene.

Legend: N moments, O pairs of a scene, K cameras, S image size, B batch, R readouts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.eyes import HELD, POSITION_UNIT_M, POSITIONS, TURNS, Eyes, EyesShape
from vla_policy.core.files import read_manifest, write_manifest
from vla_policy.core.normalise import Stats
from vla_policy.core.preprocess import pixels_from_uint8
from vla_policy.core.tensor_files import read_tensors
from vla_policy.core.tokenizer import WordTokenizer
from vla_policy.core.training.dataset import Demo, proprio_rotation
from vla_policy.core.training.loop import LOOP_FILES, TrainingLoop, draws
from vla_policy.core.training.pointing import cell_targets, places
from vla_policy.core.training.settings import LoopConfig
from vla_policy.core.training.views import Views

F32 = NDArray[np.float32]
NEAR_M = 0.12  # of the hand: what lies further away counts less
FAR_WEIGHT = 0.3
NEAR_SHARE = 0.6  # of a batch, beside those that are near by chance
OTHER_SHARE = 0.35  # of a batch: another instruction than the episode's


@dataclass(frozen=True)
class EyesConfig:
    """Hyperparameters.

    Attributes:
        steps: length of the learning-rate schedule.
        batch: moments per step.
        learning_rate: peak.
        colour_jitter: each colour channel is scaled and moved by up to this share.
        turn_weight: of the loss of the turns.
        held_weight: of the loss of what is held.
        pointing_weight: of the loss of where two maps of each camera point.
        seed: of everything.
        bf16: bfloat16 autocast; slower where the CPU has no matrix unit for it.
    """

    steps: int = 3000
    batch: int = 64
    learning_rate: float = 2e-3
    colour_jitter: float = 0.1
    turn_weight: float = 0.5
    held_weight: float = 0.2
    pointing_weight: float = 0.2
    seed: int = 0
    bf16: bool = False

    @property
    def loop(self) -> LoopConfig:
        """What the shared loop must know of it."""
        return LoopConfig(
            steps=self.steps, learning_rate=self.learning_rate, warmup_steps=self.steps // 20, final_share=0.01,
            weight_decay=1e-3, clip_norm=1.0, ema_decay=0.998,
        )  # fmt: skip


def hand_frame(proprio: F32, position: F32, yaw: F32, held: NDArray[np.bool_]) -> F32:
    """What the eyes should read, [..., R].

    Args:
        proprio: [..., 10] raw.
        position: [..., 2, 3] m of object and goal in the base frame.
        yaw: [..., 2] rad of object and goal.
        held: [...].
    """
    rotation = proprio_rotation(proprio)
    local = np.einsum("...ji,...kj->...ki", rotation, position - proprio[..., None, :3])
    turn = 4.0 * (yaw - np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])[..., None])
    turns = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    out = [local.reshape(*held.shape, 6), turns.reshape(*held.shape, 4), held[..., None]]
    return np.concatenate(out, axis=-1).astype(np.float32)


class EyesBatch(NamedTuple):
    """What one step sees.

    Attributes:
        pixels: [B, K, 3, S, S].
        words: int64 [B, L].
        proprio: [B, P] normalised.
        target: [B, R].
        turned: [B, 2], 1 where a turn can be told.
        felt: [B], 1 where it is known whether the object is held.
        where: [B, K, 2, 2], places of object and goal in the images, 0 to 1.
    """

    pixels: Tensor
    words: Tensor
    proprio: Tensor
    target: Tensor
    turned: Tensor
    felt: Tensor
    where: Tensor


@dataclass(frozen=True, eq=False)
class _Moments:
    """Images [T, K, S, S, 3], proprio [T, P] normalised, target [T, O, R], turned [T, O, 2], words [O, L],
    where [T, O, K, 2, 2].
    """

    images: NDArray[np.uint8]
    proprio: F32
    target: F32
    turned: NDArray[np.bool_]
    words: NDArray[np.int64]
    where: F32
    felt: bool


class EyesData:
    """Moments in memory, of episodes made for the eyes and of demonstrations.

    Args:
        views: Files of `Views`.
        demos: Files of `Demo`, which do not say what is held.
        proprio: Statistics of the policy that the eyes belong to.
        tokenizer: Its words.
    """

    def __init__(self, views: Sequence[Path], demos: Sequence[Path], proprio: Stats, tokenizer: WordTokenizer) -> None:
        known = [(Views.load(path), True) for path in views]
        shown = [(views_of(Demo.load(path)), False) for path in demos]
        self._episodes = [_moments(views, proprio, tokenizer, felt=felt) for views, felt in known + shown]
        self._rows = np.array([(e, t) for e, each in enumerate(self._episodes) for t in range(len(each.images))])
        if not len(self._rows):
            raise ValueError("no moments to learn from")
        near = [
            np.linalg.norm(e.target[:, 0, :6].reshape(-1, 2, 3), axis=2).min(axis=1) < NEAR_M for e in self._episodes
        ]
        self._near = np.flatnonzero(np.concatenate(near))

    def __len__(self) -> int:
        """N."""
        return len(self._rows)

    def batch(self, rng: np.random.Generator, count: int) -> EyesBatch:
        """Moments drawn with replacement, most of them with the hand near object or goal."""
        numbers = rng.integers(len(self), size=count)
        if len(self._near):
            near = self._near[rng.integers(len(self._near), size=count)]
            numbers = np.where(rng.random(count) < NEAR_SHARE, near, numbers)
        rows = []
        for number in numbers:
            episode, tick = self._episodes[self._rows[number][0]], self._rows[number][1]
            pair = int(rng.integers(len(episode.words))) if rng.random() < OTHER_SHARE else 0
            rows.append((episode, tick, pair))
        return EyesBatch(
            pixels=pixels_from_uint8(torch.from_numpy(np.stack([e.images[t] for e, t, _ in rows]))),
            words=torch.from_numpy(np.stack([e.words[p] for e, _, p in rows])),
            proprio=torch.from_numpy(np.stack([e.proprio[t] for e, t, _ in rows])),
            target=torch.from_numpy(np.stack([e.target[t, p] for e, t, p in rows])),
            turned=torch.from_numpy(np.stack([e.turned[t, p] for e, t, p in rows])).float(),
            felt=torch.tensor([float(e.felt) for e, _, _ in rows]),
            where=torch.from_numpy(np.stack([e.where[t, p] for e, t, p in rows])),
        )


def views_of(demo: Demo) -> Views:
    """A demonstration as moments of its one instruction; whether the object is held is not in it."""
    count, is_round = len(demo), "plate" in demo.instruction
    return Views(
        images=np.stack([demo.front, demo.wrist], axis=1),
        proprio=demo.proprio,
        position=np.stack([demo.object_position, demo.goal_position], axis=1)[:, None],
        yaw=np.stack([demo.object_yaw, demo.goal_yaw], axis=1)[:, None],
        turned=np.tile(np.array([True, not is_round]), (count, 1, 1)),
        held=np.zeros((count, 1), dtype=bool),
        instructions=(demo.instruction,),
    )


def _moments(views: Views, proprio: Stats, tokenizer: WordTokenizer, *, felt: bool) -> _Moments:
    count, pairs = views.held.shape
    hand = np.broadcast_to(views.proprio[:, None], (count, pairs, views.proprio.shape[-1]))
    return _Moments(
        images=views.images,
        proprio=proprio.normalise(views.proprio),
        target=hand_frame(hand, views.position, views.yaw, views.held),
        turned=views.turned,
        words=np.array([tokenizer.encode(text) for text in views.instructions]),
        where=_where(views),
        felt=felt,
    )


def _where(views: Views) -> F32:
    count, pairs = views.held.shape
    turn = proprio_rotation(views.proprio)
    seen = places(views.position.reshape(count, pairs * 2, 3), views.proprio[:, :3], turn)  # [T, K, 2 O, 2]
    return np.moveaxis(seen.reshape(count, seen.shape[1], pairs, 2, 2), 2, 1)


class EyesObjective(nn.Module):
    """Positions, turns and what is held; what is near the hand counts most."""

    def __init__(self, eyes: Eyes, config: EyesConfig) -> None:
        """Of eyes that are trained."""
        super().__init__()
        self.eyes = eyes
        self._turn, self._held, self._pointing = config.turn_weight, config.held_weight, config.pointing_weight
        self._grid = eyes.shape.image_size_px // 4

    def forward(self, batch: EyesBatch) -> dict[str, Tensor]:
        """Losses by name."""
        raw, pointed = (x.float() for x in self.eyes.raw(batch.pixels, batch.words, batch.proprio))
        target = batch.target
        shares = cell_targets(batch.where, self._grid)
        pointing = -(shares * pointed).sum(-1).mean()
        places = target[:, POSITIONS].unflatten(1, (2, 3))
        near = torch.where(places.norm(dim=2) < NEAR_M, 1.0, FAR_WEIGHT)  # [B, 2]
        away = raw[:, POSITIONS].unflatten(1, (2, 3)) - places / POSITION_UNIT_M
        position = (near * F.smooth_l1_loss(away, torch.zeros_like(away), reduction="none", beta=0.05).sum(2)).mean()
        off = (raw[:, TURNS] - target[:, TURNS]).unflatten(1, (2, 2))
        turn = (near * batch.turned * off.pow(2).sum(2)).mean()
        held = (batch.felt * F.binary_cross_entropy_with_logits(raw[:, HELD], target[:, HELD], reduction="none")).mean()
        return {
            "loss": position + self._turn * turn + self._held * held + self._pointing * pointing,
            "position": position, "turn": turn, "held": held, "pointing": pointing,
        }  # fmt: skip


class EyesRun:
    """One training, which goes on from its newest checkpoint.

    Args:
        data: Moments.
        shape: Of the eyes.
        config: Hyperparameters.
        folder: Of its checkpoints.
    """

    def __init__(self, data: EyesData, shape: EyesShape, config: EyesConfig, folder: Path) -> None:
        self._data, self._config, self._folder = data, config, folder
        torch.manual_seed(config.seed)
        self._eyes = Eyes(shape)
        self._loop = TrainingLoop(EyesObjective(self._eyes, config), config.loop, bf16=config.bf16)
        if (folder / "manifest.json").is_file():
            body = read_manifest(folder)
            if _shape_in(body) != shape:
                raise CheckpointError(f"{folder} was trained with another shape: {body['shape']}")
            self._loop.resume(folder, int(body["step"]))

    @property
    def step(self) -> int:
        """Steps done."""
        return self._loop.step

    def advance(self) -> dict[str, float]:
        """One step; its losses by name."""
        rng, generator = draws(self._config.seed, self._loop.step)
        batch = self._data.batch(rng, self._config.batch)
        jitter = self._config.colour_jitter * (
            torch.rand(2, len(batch.pixels), 1, 3, 1, 1, generator=generator) * 2 - 1
        )
        batch = batch._replace(pixels=(batch.pixels * (1.0 + jitter[0]) + jitter[1]).clamp(-1.0, 1.0))
        return dict(self._loop.advance(batch).losses)

    def save(self) -> None:
        """Replaces the checkpoint; a kill in between costs the training, not a wrong checkpoint."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "manifest.json").unlink(missing_ok=True)
        self._loop.save(self._folder)
        write_manifest(self._folder, LOOP_FILES, {"step": self.step, "shape": asdict(self._eyes.shape)})


def _shape_in(manifest: Mapping[str, Any]) -> EyesShape:
    body = dict(manifest["shape"])
    return EyesShape(**body | {"channels": tuple(body["channels"])})


def trained_eyes(folder: Path) -> Eyes:
    """The averaged eyes of a checkpoint.

    Raises:
        CheckpointError: There is none, or it is not whole.
    """
    eyes = Eyes(_shape_in(read_manifest(folder)))
    weights = {name.removeprefix("eyes."): value for name, value in read_tensors(folder / "ema.safetensors").items()}
    eyes.load_state_dict(weights)
    return eyes.eval()
