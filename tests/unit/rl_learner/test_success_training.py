# SPDX-License-Identifier: Apache-2.0
"""A success classifier: trained in seconds on a toy, refused where it cannot be trained, whole on its way to a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rl_learner.core.success_training import MarkedFrames, SuccessTraining, train_classifier
from rl_methods.common.success_classifier import (
    SuccessClassifier,
    SuccessClassifierConfig,
    load_classifier,
    save_classifier,
)

CONFIG = SuccessClassifierConfig(cameras=1, image_size=16, maps=4, outputs=8)
QUICK = SuccessTraining(steps=150, batch=16, learning_rate=5e-3, shift=1)


def frames(episodes: int = 20, good: int = 2, bad: int = 8) -> MarkedFrames:
    """A bright spot in the upper half is a success, one in the lower half none; successes are rare."""
    rng = np.random.default_rng(0)
    marks = np.array(([True] * good + [False] * bad) * episodes)
    images = rng.integers(0, 80, (len(marks), 1, 16, 16, 3), np.uint8)
    for image, mark in zip(images, marks, strict=True):
        x, y = rng.integers(2, 14), rng.integers(2, 6) + (0 if mark else 8)
        image[0, y - 1 : y + 2, x - 1 : x + 2] = 250
    return MarkedFrames(images, marks, np.repeat(np.arange(episodes), good + bad))


def test_when_frames_are_marked_expect_a_classifier_that_is_right_on_episodes_it_has_not_seen() -> None:
    _, rates = train_classifier(frames(), CONFIG, QUICK, threshold=0.5)
    assert rates.frames == 40 and rates.found > 0.9 and rates.believed < 0.1


def test_when_it_is_trained_again_from_the_seed_expect_the_same() -> None:
    how = SuccessTraining(steps=5, batch=16)
    one, again = (train_classifier(frames(), CONFIG, how, 0.5)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], again[name]) for name in one)


@pytest.mark.parametrize(
    ("good", "bad", "text"),
    [(0, 8, "0 frames show success"), (3, 0, "0 frames show no success")],
)
def test_when_there_is_one_class_only_expect_refusal_that_names_the_other(good: int, bad: int, text: str) -> None:
    with pytest.raises(ValueError, match=f"{text}, needed are 10 of each class"):
        train_classifier(frames(good=good, bad=bad), CONFIG, QUICK, 0.5)


def test_when_no_episode_can_be_held_out_expect_that_nothing_is_claimed() -> None:
    _, rates = train_classifier(frames(1, good=12, bad=12), CONFIG, SuccessTraining(steps=2), 0.5)
    assert rates.frames == 0 and np.isnan(rates.found) and np.isnan(rates.believed)


def test_when_it_is_saved_and_read_expect_the_same_probability(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made, image = SuccessClassifier(CONFIG).eval(), torch.from_numpy(frames().images[0])
    save_classifier(tmp_path / "c.safetensors", made)
    back = load_classifier(tmp_path / "c.safetensors")
    assert back.config == CONFIG
    assert back.probability(image, torch.zeros(3)) == made.probability(image, torch.zeros(3))


@pytest.mark.parametrize(("value", "passes"), [(0.2, True), (0.05, False), (0.31, False), (float("nan"), False)])
def test_when_proprioception_is_tested_expect_no_success_outside_its_range(value: float, passes: bool) -> None:  # noqa: FBT001
    config = SuccessClassifierConfig(1, 16, 4, 8, proprio_index=1, proprio_low=0.1, proprio_high=0.3)
    image = torch.from_numpy(frames().images[0])
    found = SuccessClassifier(config).probability(image, torch.tensor([9.0, value]))
    assert (found > 0.0) == passes


@pytest.mark.parametrize("kind", ["missing", "text", "other", "short", "nan"])
def test_when_a_file_is_no_classifier_expect_refusal_that_names_it(tmp_path: Path, kind: str) -> None:
    path, made = tmp_path / "c.safetensors", SuccessClassifier(CONFIG)
    if kind == "text":
        path.write_text("hello", encoding="utf-8")
    if kind == "other":
        save_file({"a": torch.zeros(1)}, path)
    if kind == "nan":
        with torch.no_grad():
            made.head.bias.fill_(torch.nan)
    if kind in ("short", "nan"):
        save_classifier(path, made)
    if kind == "short":
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="c.safetensors"):
        load_classifier(path)


@pytest.mark.parametrize(
    "change", [{"cameras": 0}, {"proprio_index": -2}, {"proprio_low": 2.0}, {"proprio_high": float("inf")}]
)
def test_when_a_number_is_out_of_range_expect_refusal(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="cameras|proprio_index|range"):
        SuccessClassifierConfig(**({"cameras": 1} | change))  # type: ignore[arg-type]
