# SPDX-License-Identifier: Apache-2.0
"""RECAP from recordings to a model directory, on a toy VLA whose good and bad commands go opposite ways."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experience.core.dataset import Dataset, DatasetError
from fakes.lerobot_files import JOINTS
from fakes.recap_data import DARK, STEP_M, WORDS, both_ways, panda
from fakes.threads import one_thread
from fakes.toy_vla import toy_directory
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from rl_learner.core.post_training import DataConfig, DatasetRobot, DatasetTrainer
from rl_learner.core.value_files import load_value, plain_backend, values_along
from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.recap.labels import NEGATIVE, POSITIVE, prompt
from rl_methods.recap.settings import RecapSettings
from rl_methods.recap.training import Recap
from vla_policy.core.backends import load_backend
from vla_policy.core.conditioning import Conditioning, conditioning_in
from vla_policy.core.files import read_manifest
from vla_policy.core.protocol import Observation
from vla_policy.core.training.settings import SftConfig

SETTINGS = RecapSettings(
    n_step=8, stride=2, bins=51, value_steps=300, value_hidden=32, value_learning_rate=5e-3, held_out=0.2, tasks="put *"
)
CONFIG = SftConfig(steps=300, batch=16, noises=2, learning_rate=3e-3, save_every=200)
SUCCESSES, FAILURES = (14, 15, 16, 17, 18, 20), (24, 24)


@pytest.fixture(autouse=True, scope="module")
def on_one_thread():
    with one_thread():
        yield


def watcher_of(spec):
    return EpisodePreprocessor(spec, panda(), JOINTS)


def trainer_of(config=CONFIG, work=None):
    return DatasetTrainer(DatasetRobot(Dataset, watcher_of), DataConfig(), config, work=work)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return toy_directory(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return both_ways(tmp_path_factory.mktemp("data") / "dataset", SUCCESSES, FAILURES, human_from=10)


@pytest.fixture(scope="module")
def made(base, data, tmp_path_factory):
    """The model of one iteration, and what was said meanwhile."""
    out, said = tmp_path_factory.mktemp("out") / "model", []
    Recap(SETTINGS).train(trainer_of(), base, [data], out, said.append)
    return out, said


def seen_at(level: int, words: str) -> Observation:
    """What the toy VLA sees of the arm at home."""
    image = np.full((24, 24, 3), level, np.uint8)
    pose = panda().fk([0.0, -0.4, 0.0, -2.2, 0.0, 1.8, 0.8])
    proprio = np.concatenate([pose.position, pose.rotation[:, 0], pose.rotation[:, 1], [1.0]]).astype(np.float32)
    return Observation({"front": image, "wrist": image}, proprio, words)


def along_x(backend, words: str) -> float:
    """Mean command along x [m] of 64 chunks from the picture that both kinds of episodes begin with."""
    noise = np.random.default_rng(0).standard_normal((64, *backend.spec.noise_shape)).astype(np.float32)
    chunks = backend.denoise(backend.prefix(seen_at(DARK, words)), noise)
    return float(backend.spec.denormalise(chunks)[..., 0].mean())


def test_when_trained_expect_the_words_to_decide_which_way_the_hand_goes(made):
    plain = plain_backend(made[0])
    good, bad = (along_x(plain, prompt(WORDS[0], is_positive=sign)) for sign in (True, False))
    assert good > bad + STEP_M
    served = load_backend("pocket", str(made[0]))
    assert along_x(served, WORDS[0]) == pytest.approx(good, abs=1e-6)
    guided = load_backend("pocket", str(made[0]), guidance=2.0)
    assert along_x(guided, WORDS[0]) > along_x(load_backend("pocket", str(made[0]), guidance=0.0), WORDS[0])


def test_when_trained_expect_the_velocity_to_depend_on_the_indicator(made, base):
    def velocity(words):
        backend = plain_backend(made[0])
        backend.num_steps = 1
        noise = np.zeros((1, *backend.spec.noise_shape), np.float32)
        return -backend.denoise(backend.prefix(seen_at(DARK, words)), noise)

    difference = np.linalg.norm(velocity(f"{WORDS[0]} {POSITIVE}") - velocity(f"{WORDS[0]} {NEGATIVE}"))
    assert difference > 0.5


def test_when_trained_expect_a_directory_that_says_how_it_is_served(made):
    out, said = made
    manifest = json.loads((out / "manifest.json").read_text())
    assert conditioning_in(read_manifest(out), out) == Conditioning(POSITIVE, 1.0)
    task = manifest["recap"]["tasks"]["put *"]
    assert task["policy_positive"] == pytest.approx(SETTINGS.positive_share, abs=0.1)
    assert task["human_frames"] == 2 and task["max_length"] == 24
    assert any("frames of the policy positive" in line for line in said)
    assert not out.with_name("model.recap").exists()
    vocabulary = json.loads((out / "vocab.json").read_text())["words"]
    assert vocabulary[-3:] == ["advantage", "positive", "negative"]


def test_when_a_new_success_is_watched_expect_its_value_to_rise(made, tmp_path):
    fresh = next(iter(Dataset(both_ways(tmp_path / "fresh", [17], []))))
    model, backend = load_value(made[0]), plain_backend(made[0])
    frames, values = values_along(model.network, backend, watcher_of(backend.spec), fresh, 4)
    assert frames.tolist() == [0, 4, 8, 12, 16]
    assert (np.diff(values[1:]) > 0.0).all() and values[-1] > -0.25
    assert model.returns(fresh)[[0, -1]].tolist() == pytest.approx([-16 / 24, 0.0])


def test_when_samples_are_drawn_expect_labels_without_an_indicator_as_often_as_said(base, tmp_path):
    many = both_ways(tmp_path / "many", [20] * 10, [40] * 10)
    recap, seen = Recap(replace(SETTINGS, value_steps=20, stride=1, n_step=1)), []

    class Counting(DatasetTrainer):
        def fit(self, model, datasets, out, select, report):
            seen.extend(s for _, episode in self.labels(datasets) for s in select(datasets[0], episode))
            return model

        def sealed_with(self, model, out, tensors, entries):
            return model

    trainer = Counting(DatasetRobot(Dataset, watcher_of), DataConfig(), CONFIG)
    recap.train(trainer, base, [many], tmp_path / "out", lambda _line: None)
    assert len(seen) == 600
    assert np.mean([sample.instruction == "" for sample in seen]) == pytest.approx(0.3, abs=0.06)
    labelled = {sample.instruction for sample in seen} - {""}
    assert labelled == {f"{words} {sign}" for words in WORDS for sign in (POSITIVE, NEGATIVE)}


def test_when_stopped_and_run_again_expect_the_features_kept_and_the_same_model(base, data, tmp_path):
    short = replace(CONFIG, steps=6, save_every=3)
    settings = replace(SETTINGS, value_steps=20)
    whole = Recap(settings).train(trainer_of(short), base, [data], tmp_path / "whole", lambda _line: None)

    class Stopped(DatasetTrainer):
        def fit(self, model, datasets, out, select, report):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Recap(settings).train(
            Stopped(DatasetRobot(Dataset, watcher_of), DataConfig(), short), base, [data], tmp_path / "m", print
        )
    kept = list((tmp_path / "m.recap" / "features").rglob("*.npz"))
    assert len(kept) == len(SUCCESSES) + len(FAILURES)
    before, said = {path: path.stat().st_mtime_ns for path in kept}, []
    again = Recap(settings).train(trainer_of(short), base, [data], tmp_path / "m", said.append)
    assert not any("through the policy" in line for line in said) and before
    for name in ("model.safetensors", "value.safetensors"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()


def test_when_the_base_has_an_indicator_expect_the_pretrained_model_asked_for(made, data, tmp_path):
    with pytest.raises(CheckpointError, match="give the pre-trained model as base"):
        Recap(SETTINGS).train(trainer_of(), made[0], [data], tmp_path / "out", print)


@pytest.mark.parametrize(
    ("successes", "failures", "words"),
    [((), (12,), "none of 1 episodes succeeded"), ((12, 14), (), "all of 2 episodes succeeded")],
)
def test_when_there_is_one_outcome_only_expect_that_said_before_anything_is_looked_at(
    base, tmp_path, successes, failures, words
):
    folder = both_ways(tmp_path / "data", successes, failures)
    with pytest.raises(ValueError, match=words):
        Recap(SETTINGS).train(trainer_of(), base, [folder], tmp_path / "out", print)
    assert not (tmp_path / "out.recap").exists()


def test_when_an_episode_is_longer_than_it_may_be_expect_its_task_named(base, data, tmp_path):
    with pytest.raises(ValueError, match=r"max_length is 20, an episode of 'put \*' has 24 steps"):
        Recap(replace(SETTINGS, max_length=20)).train(trainer_of(), base, [data], tmp_path / "out", print)


def test_when_the_model_has_no_value_function_expect_that_said(base):
    with pytest.raises(CheckpointError, match="has no value function"):
        load_value(base)


def test_when_the_dataset_is_of_another_arm_expect_its_folder_and_joints(base, data, tmp_path):
    def other(spec):
        return EpisodePreprocessor(spec, panda(), (*(f"other_{n}" for n in range(7)), "gripper"))

    trainer = DatasetTrainer(DatasetRobot(Dataset, other), DataConfig(), CONFIG)
    with pytest.raises(DatasetError, match=str(data)):
        Recap(SETTINGS).train(trainer, base, [data], tmp_path / "out", print)


def test_when_no_labels_were_made_expect_select_to_say_so(data):
    (_, episode), *_ = trainer_of().labels([data])
    with pytest.raises(ValueError, match="has no labels"):
        Recap(SETTINGS).select(data, episode)
    assert episode.images == {}
