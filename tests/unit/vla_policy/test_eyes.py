# SPDX-License-Identifier: Apache-2.0
"""Eyes that read the hand-frame state: geometry, words, the files they come in, and that they learn."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from fakes.toy_vla import TINY, WORDS, toy_demo, toy_eyes
from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends.pocket import EYES, PocketBackend
from vla_policy.core.eyes import HAND_FRAME_NAMES, HELD, POSITIONS, TURNS, EyesShape
from vla_policy.core.files import write_manifest
from vla_policy.core.normalise import Stats
from vla_policy.core.protocol import Observation
from vla_policy.core.tokenizer import WordTokenizer
from vla_policy.core.training.dataset import DemoError
from vla_policy.core.training.export import export_finetuned
from vla_policy.core.training.eyes import EyesConfig, EyesData, EyesRun, hand_frame, trained_eyes, views_of
from vla_policy.core.training.trainable import Trainable
from vla_policy.core.training.views import Views

TOKENIZER = WordTokenizer.from_texts(WORDS)
PROPRIO = Stats((0.0,) * 10, (1.0,) * 10)


def proprio_of(position: list[float], rotation: Rotation) -> np.ndarray:
    matrix = rotation.as_matrix()
    return np.array([*position, *matrix[:, 0], *matrix[:, 1], 1.0], dtype=np.float32)


def test_when_the_hand_points_down_and_is_turned_expect_places_in_its_own_axes() -> None:
    down = Rotation.from_euler("z", 30, degrees=True) * Rotation.from_euler("x", 180, degrees=True)
    proprio = proprio_of([0.5, 0.1, 0.2], down)
    along = Rotation.from_euler("z", 30, degrees=True).apply([0.04, 0.0, 0.0])
    places = np.array([np.array([0.5, 0.1, 0.15]) + along, [0.5, 0.1, 0.2]], dtype=np.float32)
    yaws = np.radians([30.0 + 90.0 + 10.0, 30.0 - 5.0]).astype(np.float32)
    read = hand_frame(proprio, places, yaws, np.asarray(True))
    assert np.allclose(read[POSITIONS], [0.04, 0.0, 0.05, 0.0, 0.0, 0.0], atol=1e-6)
    wanted = np.radians([40.0, -20.0])
    assert np.allclose(
        read[TURNS], [np.cos(wanted[0]), np.sin(wanted[0]), np.cos(wanted[1]), np.sin(wanted[1])], atol=1e-5
    )
    assert read[HELD] == 1.0 and len(read) == len(HAND_FRAME_NAMES)


def test_when_words_come_that_the_eyes_never_learnt_expect_them_passed_over() -> None:
    eyes = toy_eyes(TOKENIZER)
    pixels, proprio = torch.rand(1, 2, 3, 24, 24), torch.rand(1, 10)
    words = torch.tensor([TOKENIZER.encode(WORDS[0])])
    longer = words.clone()
    longer[0, 10] = TOKENIZER.vocab_size + 3
    assert torch.equal(eyes(pixels, words, proprio), eyes(pixels, longer, proprio))
    other = torch.tensor([TOKENIZER.encode(WORDS[1])])
    assert not torch.allclose(eyes(pixels, words, proprio), eyes(pixels, other, proprio))


def test_when_a_policy_has_eyes_expect_its_features_to_end_with_what_they_read(
    pocket: PocketBackend, observation: Observation
) -> None:
    assert pocket.spec.readout_names == HAND_FRAME_NAMES
    eyes = toy_eyes(WordTokenizer.from_texts(pocket.spec.instructions))
    images = np.stack([observation.images[name] for name in pocket.spec.cameras])
    pixels = torch.from_numpy(images)[None].permute(0, 1, 4, 2, 3).float() / 127.5 - 1.0
    words = torch.tensor([WordTokenizer.from_texts(pocket.spec.instructions).encode(observation.instruction)])
    context = pocket.prefix(observation)
    wanted = eyes(pixels, words, torch.from_numpy(context.proprio)[None])[0].detach().numpy()
    assert np.allclose(pocket.features(context)[-len(HAND_FRAME_NAMES) :], wanted, atol=1e-5)


def test_when_a_policy_is_fine_tuned_expect_its_eyes_to_come_along(pocket_directory: Path, tmp_path: Path) -> None:
    vla = Trainable.load(pocket_directory)
    export_finetuned(pocket_directory, tmp_path / "m", vla.model, {})
    assert (tmp_path / "m" / EYES).read_bytes() == (pocket_directory / EYES).read_bytes()
    assert PocketBackend.load(str(tmp_path / "m")).spec.readout_names == HAND_FRAME_NAMES


@pytest.mark.parametrize(
    ("key", "value"), [("image_size_px", 48), ("proprio_dim", 3), ("channels", [8]), ("hidden", 0), ("layers", 2)]
)
def test_when_the_eyes_do_not_fit_the_policy_expect_refusal(
    key: str, value: object, pocket_directory: Path, tmp_path: Path
) -> None:
    shutil.copytree(pocket_directory, tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    manifest["eyes"][key] = value
    write_manifest(tmp_path / "m", manifest.pop("files"), manifest)
    with pytest.raises(CheckpointError, match=r"eyes"):
        PocketBackend.load(str(tmp_path / "m"))


def test_when_the_manifest_has_no_eyes_expect_features_that_end_with_proprioception(
    pocket_directory: Path, observation: Observation, tmp_path: Path
) -> None:
    shutil.copytree(pocket_directory, tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    manifest.pop("eyes")
    write_manifest(tmp_path / "m", [n for n in manifest.pop("files") if n != EYES], manifest)
    blind, seeing = PocketBackend.load(str(tmp_path / "m")), PocketBackend.load(str(pocket_directory))
    assert blind.spec.readout_names == ()
    features = blind.features(blind.prefix(observation))
    assert np.allclose(features, seeing.features(seeing.prefix(observation))[: len(features)], atol=1e-5)


def written(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files of some episodes, half of them demonstrations."""
    views, demos = [], []
    for seed in range(6):
        demo = toy_demo(seed, WORDS[0])
        path = folder / f"{seed}.npz"
        if seed % 2:
            demo.save(path)
            demos.append(path)
        else:
            views_of(demo).save(path)
            views.append(path)
    return views, demos


def eyes_run(folder: Path, steps: int = 60) -> EyesRun:
    shape = EyesShape(TOKENIZER.vocab_size, TOKENIZER.prompt_length, TINY.image_size_px, channels=(8, 8), hidden=32)
    data = EyesData(*written(folder), PROPRIO, TOKENIZER)
    return EyesRun(data, shape, EyesConfig(steps=steps, batch=16), folder / "run")


def test_when_trained_expect_places_found_and_a_stopped_run_to_go_on_as_if_it_never_stopped(tmp_path: Path) -> None:
    whole = eyes_run(tmp_path)
    losses = [whole.advance()["position"] for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
    whole.save()
    expected = trained_eyes(tmp_path / "run").state_dict()
    shutil.rmtree(tmp_path / "run")
    first = eyes_run(tmp_path)
    for _ in range(30):
        first.advance()
    first.save()
    second = eyes_run(tmp_path)
    assert second.step == 30
    for _ in range(30):
        second.advance()
    second.save()
    for name, value in trained_eyes(tmp_path / "run").state_dict().items():
        assert torch.allclose(value, expected[name], atol=1e-6), name


def test_when_a_checkpoint_is_of_other_eyes_expect_refusal(tmp_path: Path) -> None:
    eyes_run(tmp_path).save()
    data = EyesData(*written(tmp_path), PROPRIO, TOKENIZER)
    other = EyesShape(TOKENIZER.vocab_size, TOKENIZER.prompt_length, TINY.image_size_px, channels=(8, 16))
    with pytest.raises(CheckpointError, match="another shape"):
        EyesRun(data, other, EyesConfig(), tmp_path / "run")


def test_when_an_array_is_missing_or_short_expect_the_file_and_the_array_named(tmp_path: Path) -> None:
    views = views_of(toy_demo(0))
    views.save(tmp_path / "whole.npz")
    assert Views.load(tmp_path / "whole.npz").instructions == (WORDS[0],)
    with np.load(tmp_path / "whole.npz") as data:
        arrays = {name: data[name] for name in data if name != "held"}
    np.savez(tmp_path / "part.npz", **arrays)
    with pytest.raises(DemoError, match=r"part\.npz: the array held is missing"):
        Views.load(tmp_path / "part.npz")
    replace(views, held=views.held[:3]).save(tmp_path / "short.npz")
    with pytest.raises(DemoError, match=r"short\.npz: held has 3 moments"):
        Views.load(tmp_path / "short.npz")
