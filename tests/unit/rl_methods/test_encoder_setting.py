# SPDX-License-Identifier: Apache-2.0
"""The one place that says what a method's networks see: its settings file."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl_methods.registry import encoder_of, method_names, online_methods


@pytest.mark.parametrize("text", ["expo:\n", "expo: {best_of: 4}\n", "expo: {encoder: features}\n"])
def test_when_a_file_says_nothing_else_expect_features(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.yaml").write_text(text, encoding="utf-8")
    assert encoder_of("expo", tmp_path / "m.yaml") == "features"


def test_when_a_file_says_images_expect_images(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("expo: {encoder: images}\n", encoding="utf-8")
    assert encoder_of("expo", tmp_path / "m.yaml") == "images"


@pytest.mark.parametrize("text", ["expo: {encoder: eyes}\n", "dsrl: {}\n", "- 1\n", "expo: [1]\n", "expo: {\n"])
def test_when_a_file_cannot_be_used_expect_refusal_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="m.yaml"):
        encoder_of("expo", tmp_path / "m.yaml")


def test_when_shipped_methods_are_asked_expect_an_answer_of_each() -> None:
    assert encoder_of("none") == "features"
    assert {encoder_of(name) for name in method_names()} <= {"features", "images"} and online_methods()
