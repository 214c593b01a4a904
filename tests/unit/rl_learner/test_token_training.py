# SPDX-License-Identifier: Apache-2.0
"""`features train` on tiny checkpoints: the token learns, is served, and nothing else of the directory changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experience.core.dataset import Dataset, DatasetError
from fakes.lerobot_files import JOINTS, panda_dataset
from fakes.recap_data import panda
from fakes.threads import one_thread
from fakes.toy_vla import toy_directory
from harness.published import CAMERAS, checkpoint, mapping_text, observation
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from rl_learner.core.post_training import DatasetRobot
from rl_learner.core.token_training import TokenTrainer
from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends import load_backend
from vla_policy.core.backends.pi0 import Pi0Backend
from vla_policy.core.files import read_manifest
from vla_policy.core.protocol import Observation
from vla_policy.core.published.detect import is_published
from vla_policy.core.published.report import inspect
from vla_policy.core.published.report_lines import RobotNames
from vla_policy.core.serving import contract_of, weights_sha256
from vla_policy.core.training.loop import StepMetrics
from vla_policy.core.training.run import LossReport
from vla_policy.core.training.settings import FrameConfig, TokenConfig

CONFIG, FRAMES = TokenConfig(steps=80, batch=8, save_every=40), FrameConfig(held_out=0.34)
DIM = 24
ROBOT = RobotNames(JOINTS, tuple(name for name in CAMERAS.values() if name != "null"))


@pytest.fixture(autouse=True, scope="module")
def on_one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """As LeRobot wrote it, with an operator's mapping for datasets of 20 frames per second."""
    text = mapping_text().replace("dt_s: 0.1", "dt_s: 0.05")
    return checkpoint(tmp_path_factory.mktemp("published") / "base", mapping=text)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Frames of an episode have different grey levels."""
    return panda_dataset(tmp_path_factory.mktemp("data") / "set", (12, 10, 8))


def trainer(report: LossReport | None = None, work: Path | None = None, **changes: Any) -> TokenTrainer:
    robot = DatasetRobot(Dataset, lambda spec: EpisodePreprocessor(spec, panda(), JOINTS))
    settings = {"frames": FRAMES, "config": CONFIG} | changes
    return TokenTrainer(robot, JOINTS, token_dim=DIM, progress=report or LossReport(), work=work, **settings)


@pytest.fixture(scope="module")
def made(base, data, tmp_path_factory):
    """A directory with a token, the losses, and what was said meanwhile."""
    losses, held, said = list[float](), list[float](), list[str]()
    report = LossReport(lambda metrics: losses.append(metrics.losses["loss"]), lambda _step, loss: held.append(loss))
    out = trainer(report).fit(base, [data], tmp_path_factory.mktemp("out") / "model", said.append)
    return out, losses, held, said


def features(backend: Pi0Backend, shade: int = 0) -> np.ndarray:
    """Of the observation of the data, darkened."""
    seen = observation()
    for image in seen.images.values():
        image[:] = np.maximum(image, shade) - shade
    return backend.features(backend.prefix(seen))


def test_when_a_token_is_trained_expect_losses_that_fall_and_what_it_learnt_from_in_the_manifest(made):
    out, losses, held, said = made
    assert len(losses) == 80 and np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert len(held) == 3 and held[-1] < 0.5 * held[0]
    manifest = read_manifest(out)
    assert manifest["rl_token"]["token_dim"] == DIM
    training = manifest["token_training"]
    assert (training["frames"], training["held_out_frames"], training["steps"]) == (9, 6, 80)  # the episode of 12
    assert training["held_out_loss"] == pytest.approx(held[-1], abs=1e-6)
    assert said[-1] == "15 frames, 6 of them put aside"


def test_when_the_directory_is_served_expect_the_token_as_features_and_the_same_actions(made, base):
    before, after = (load_backend("pi0", str(folder)) for folder in (base, made[0]))
    width, proprio = 16, before.spec.proprio_dim
    assert (before.spec.feature_dim, after.spec.feature_dim) == (width + proprio, DIM + proprio)
    token, darker = features(after)[:DIM], features(after, 60)[:DIM]
    assert token.mean() == pytest.approx(0.0, abs=1e-5) and token.std() == pytest.approx(1.0, rel=1e-2)
    assert np.abs(token - darker).max() > 1e-3
    np.testing.assert_array_equal(features(after)[DIM:], features(before)[width:])
    noise = np.random.default_rng(0).standard_normal((2, *after.spec.noise_shape)).astype(np.float32)
    chunks = [backend.denoise(backend.prefix(observation()), noise) for backend in (before, after)]
    np.testing.assert_array_equal(*chunks)


def test_when_the_token_is_served_expect_another_contract_and_other_weights(made, base):
    hashes = [weights_sha256(folder) for folder in (base, made[0])]
    contracts = [
        contract_of(load_backend("pi0", str(folder)).spec, JOINTS, sha)
        for folder, sha in zip((base, made[0]), hashes, strict=True)
    ]
    assert hashes[0] != hashes[1] and contracts[0].hash() != contracts[1].hash()
    assert [text.partition(":")[0] for text in contracts[0].differences(contracts[1])] == [
        "feature_dim",
        "feature_version",
    ]
    assert is_published(made[0]), "the pi0 backend is chosen for it"


def test_when_a_directory_is_inspected_expect_its_features_and_how_to_have_better_ones(made, base):
    lines = [{line.field: line for line in inspect(folder, ROBOT).lines} for folder in (base, made[0])]
    assert lines[0]["features"].text == (
        "mean of embeddings, as no RL token has been trained: whetstone features train"
    )
    assert lines[1]["features"].text == f"RL token of {DIM} (trained on 9 frames)"
    assert all(line.is_ok for found in lines for line in found.values())


def _flip(folder: Path) -> None:
    path = folder / "rl_token.safetensors"
    body = bytearray(path.read_bytes())
    body[-1] ^= 1
    path.write_bytes(body)


def _change(folder: Path, change: Any) -> None:
    body = json.loads((folder / "manifest.json").read_text())
    change(body)
    (folder / "manifest.json").write_text(json.dumps(body))


TAMPERED = {
    "a number of it": (_flip, "rl_token.safetensors does not have the SHA-256"),
    "the file gone": (lambda f: (f / "rl_token.safetensors").unlink(), "rl_token.safetensors is missing"),
    "no seal": (lambda f: (f / "manifest.json").unlink(), "manifest does not list rl_token.safetensors"),
    "no sizes": (lambda f: _change(f, lambda b: b.pop("rl_token")), "the key rl_token is missing"),
    "sizes of others": (lambda f: _change(f, lambda b: b["rl_token"].update(count=7)), "count is 7, the model has 32"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_when_the_token_was_tampered_with_expect_the_directory_refused(case, made, tmp_path):
    change, words = TAMPERED[case]
    folder = shutil.copytree(made[0], tmp_path / "model")
    change(folder)
    with pytest.raises(CheckpointError, match=words):
        load_backend("pi0", str(folder))
    if case != "sizes of others":  # the report reads no weights
        report = inspect(folder, ROBOT)
        assert not report.can_be_served and any(line.field == "features" for line in report.lines if not line.is_ok)


def test_when_the_mapping_is_changed_afterwards_expect_the_directory_still_served(made, tmp_path):
    folder = shutil.copytree(made[0], tmp_path / "model")
    path = folder / "whetstone.yaml"
    path.write_text(path.read_text() + "instructions: [lift the cube]\n")
    assert load_backend("pi0", str(folder)).spec.instructions == ("lift the cube",)


class Killed(Exception):  # noqa: N818 - it is no error of the code under test
    """The process ends here."""


def test_when_killed_and_run_again_expect_the_token_of_an_unbroken_run(made, base, data, tmp_path):
    def kill(metrics: StepMetrics) -> None:
        if metrics.step == 60:
            raise Killed

    with pytest.raises(Killed):
        trainer(LossReport(kill), tmp_path / "work").fit(base, [data], tmp_path / "model", lambda _line: None)
    steps = list[int]()
    again = trainer(LossReport(lambda metrics: steps.append(metrics.step)), tmp_path / "work")
    out = again.fit(base, [data], tmp_path / "model", lambda _line: None)
    assert steps == list(range(40, 80))
    assert read_manifest(out)["files"] == read_manifest(made[0])["files"]


def test_when_gone_on_with_another_stride_expect_it_refused(base, data, tmp_path):
    few = TokenConfig(steps=2, batch=2)
    trainer(work=tmp_path / "work", config=few).fit(base, [data], tmp_path / "one", lambda _line: None)
    other = trainer(work=tmp_path / "work", config=few, frames=FrameConfig(stride=3, held_out=0.34))
    with pytest.raises(CheckpointError, match="another training: frames"):
        other.fit(base, [data], tmp_path / "two", lambda _line: None)


def test_when_embeddings_would_not_fit_the_disk_expect_fewer_frames_and_that_said(base, data, tmp_path):
    said = list[str]()
    row_bytes = 2 * 32 * 16
    frames = FrameConfig(held_out=0.0, disk_gb=8.0 * row_bytes / 1e9)
    out = trainer(config=TokenConfig(steps=2, batch=2), frames=frames).fit(
        base, [data], tmp_path / "model", said.append
    )
    assert "every 4th frame is looked at, not every 2th" in said[0]  # 30 frames, of which 8 fit
    assert read_manifest(out)["token_training"]["frames"] == 8


def test_when_the_dataset_has_another_rate_expect_it_named_and_nothing_made(base, data, tmp_path):
    slow = checkpoint(tmp_path / "slow")  # 0.1 s a step
    with pytest.raises(DatasetError, match="20 frames per second, the policy 10"):
        trainer().fit(slow, [data], tmp_path / "model", lambda _line: None)
    assert not (tmp_path / "model").exists()


def test_when_a_pocket_vla_gets_a_token_expect_its_readouts_and_eyes_as_they_were(data, tmp_path):
    pocket = toy_directory(tmp_path / "pocket")
    out = trainer().fit(pocket, [data], tmp_path / "new", lambda _line: None)
    before, after = (load_backend("pocket", str(folder)) for folder in (pocket, out))
    seen = _at_home(before)
    old, new = (backend.features(backend.prefix(seen)) for backend in (before, after))
    assert len(old) - len(new) == 64 - DIM and np.abs(new[:DIM]).max() > 0.1
    np.testing.assert_array_equal(new[DIM:], old[64:])
    exported = load_backend("onnx", str(out), num_threads=1)
    assert exported.spec.feature_version == after.spec.feature_version != before.spec.feature_version


def _at_home(backend: Pi0Backend) -> Any:
    images = {name: np.full((24, 24, 3), 90, np.uint8) for name in backend.spec.cameras}
    return Observation(images, np.zeros(10, np.float32), "put the red cube on the blue plate")
