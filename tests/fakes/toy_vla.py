# SPDX-License-Identifier: Apache-2.0
"""Toy demonstrations and a tiny VLA to train on them, for tests."""

from pathlib import Path

import numpy as np
import torch

from vla_policy.core.architecture import PocketShape
from vla_policy.core.eyes import Eyes, EyesShape
from vla_policy.core.tokenizer import WordTokenizer
from vla_policy.core.training.dataset import ChunkDataset, Demo
from vla_policy.core.training.export import export
from vla_policy.core.training.trainer import TrainConfig, Trainer

WORDS = ("put the red cube on the blue plate", "put the blue cube on the red plate")
TINY = PocketShape(
    image_size_px=24,
    patch_size_px=12,
    stem_channels=8,
    layers=2,
    heads=2,
    head_dim=16,
    vlm_width=32,
    vlm_mlp=48,
    expert_width=32,
    expert_mlp=48,
    flow_steps=4,
)


def toy_demo(seed: int, instruction: str = WORDS[0], ticks: int = 20) -> Demo:
    """A hand that walks to a bright square whose place is drawn; no simulator behind it."""
    rng = np.random.default_rng(seed)
    cell = rng.integers(0, 2, 2)
    image = np.full((ticks, 24, 24, 3), 30, dtype=np.uint8)
    row, column = 12 * cell[0], 12 * cell[1]
    image[:, row : row + 12, column : column + 12, 0] = 250
    target = np.array([0.4 + 0.2 * cell[0], -0.2 + 0.4 * cell[1], 0.1])
    start = np.array([0.5, 0.0, 0.3])
    path = start + np.linspace(0.0, 1.0, ticks)[:, None] * (target - start)
    eye = np.tile(np.eye(3, dtype=np.float32), (ticks, 1, 1))
    proprio = np.concatenate([path, np.tile([1, 0, 0, 0, 1, 0, 1], (ticks, 1))], axis=1)
    command = np.minimum(np.arange(1, ticks + 1), ticks - 1)
    wide = {"dtype": np.float32}
    return Demo(
        front=image,
        wrist=image.copy(),
        proprio=proprio.astype(np.float32),
        joints=np.zeros((ticks, 7), **wide),
        command_position=path[command].astype(np.float32),
        command_rotation=eye,
        command_joints=np.full((ticks, 7), 0.1, **wide),
        command_opening=np.linspace(1.0, 0.0, ticks, **wide),
        object_position=np.tile(target, (ticks, 1)).astype(np.float32),
        goal_position=np.tile(target, (ticks, 1)).astype(np.float32),
        object_yaw=np.zeros(ticks, **wide),
        goal_yaw=np.zeros(ticks, **wide),
        usable=np.ones(ticks, dtype=bool),
        instruction=instruction,
    )


def toy_trainer(**changes) -> Trainer:
    demos = [toy_demo(seed, WORDS[seed % 2]) for seed in range(8)]
    settings = {"steps": 40, "batch": 8, "scenes": 16, "noises": 2, "warmup_steps": 5, "bf16": False, "compiled": False}
    data = ChunkDataset(demos)
    return Trainer(TrainConfig(**(settings | changes)), TINY, data, WordTokenizer.from_texts(data.instructions))


def toy_eyes(tokenizer: WordTokenizer) -> Eyes:
    """Eyes that have learnt nothing, but see something else in other images and hear other words."""
    torch.manual_seed(0)
    size = TINY.image_size_px
    eyes = Eyes(EyesShape(tokenizer.vocab_size, tokenizer.prompt_length, size, channels=(8, 8), layers=1, hidden=16))
    with torch.no_grad():
        eyes.words.weight.normal_()
    return eyes.eval()


def toy_directory(folder: Path) -> Path:
    """A sealed directory of a toy VLA after a few steps."""
    trainer = toy_trainer()
    for _ in range(3):
        trainer.advance()
    trainer.save(folder / "step-000003")
    export(folder / "step-000003", folder / "model", model_id="tiny", eyes=toy_eyes(trainer.tokenizer))
    return folder / "model"
