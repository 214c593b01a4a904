# SPDX-License-Identifier: Apache-2.0
"""Each imitating method makes a tiny VLA do what a recording shows, through the commands' readers and trainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakes.lerobot_files import panda_dataset
from fakes.threads import one_thread
from fakes.toy_models import toy_model
from rl_learner.core.post_training import DatasetRobot, DatasetTrainer
from rl_learner.core.recorded import episodes_of
from rl_methods.registry import training_of
from vla_policy.core.backends.pocket import PocketBackend
from vla_policy.core.training.settings import DataConfig, SftConfig
from whetstone_cli.jobs.robots import dataset_of, watcher_of
from whetstone_common.core.enums import Actor

pytestmark = [pytest.mark.learning, pytest.mark.timeout(300)]

ROBOT = DatasetRobot(
    lambda path: dataset_of(path, "sim_panda"), lambda spec: watcher_of("sim_panda", spec, Path("toy"))
)


def error(model: Path, folder: Path) -> float:
    """Mean distance of played chunks from those of the recording, normalised."""
    backend, dataset = PocketBackend.load(str(model)), ROBOT.dataset(folder)
    watcher, errors = ROBOT.watcher(backend.spec), []
    noise = np.random.default_rng(0).standard_normal((4, *backend.spec.noise_shape)).astype(np.float32)
    for recorded in episodes_of(dataset, watcher):
        targets = watcher.targets(recorded)
        for frame in range(0, len(recorded), 4):
            chunk = backend.denoise(backend.prefix(watcher.observation(recorded, frame)), noise).mean(axis=0)
            errors.append(np.abs(chunk - np.clip(watcher.chunk(recorded, targets, frame), -5.0, 5.0)).mean())
    return float(np.mean(errors))


@pytest.mark.parametrize("method", ["sft", "distill", "dagger"])
def test_when_a_recording_is_imitated_expect_the_policy_to_play_what_it_shows(tmp_path: Path, method: str) -> None:
    with one_thread():
        base = toy_model(tmp_path)
        shown = panda_dataset(tmp_path / "set", (12, 12), int(Actor.HUMAN))
        # What the policy did alone and failed with must not matter to anybody.
        failed = panda_dataset(tmp_path / "failed", (12,), int(Actor.POLICY), success=False)
        config = SftConfig(steps=300, batch=16, learning_rate=4e-3, ema_decay=0.9, save_every=100)
        trainer = DatasetTrainer(ROBOT, DataConfig(), config)
        said: list[str] = []
        out = training_of(method)().train(trainer, base, [shown, failed], tmp_path / "out", said.append)
        assert "2 of 3 episodes" in said[0]
        assert error(out, shown) < 0.4 * error(base, shown)
