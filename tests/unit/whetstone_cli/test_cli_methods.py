# SPDX-License-Identifier: Apache-2.0
"""`whetstone methods`: every method with what it needs, every setting with what it means."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from rl_methods.base import Algorithm
from rl_methods.describe import attributes_of, settings_of
from rl_methods.registry import METHODS, NEEDS, MethodEntry, method_names, online_methods
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.main import app
from whetstone_cli.cli.screen import console


def said(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr(console, "width", 400)
    with console.capture() as captured:
        result = CliRunner().invoke(app, ["methods", *words], catch_exceptions=False)
    return captured.get() + result.output


def test_when_methods_are_listed_expect_each_with_its_summary_and_needs_on_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = said(monkeypatch).splitlines()
    for name, method in METHODS.items():
        (line,) = [line for line in lines if line.replace("│", " ").split()[:1] == [name]]
        assert method.summary in line
        assert all(need in line for need in method.needs or ("nothing",))


def test_when_one_is_asked_for_expect_type_default_shipped_value_and_meaning_of_its_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = said(monkeypatch, "rlt")
    (line,) = [line for line in text.splitlines() if "rlt.bound" in line]
    assert (
        "tuple[float, ...]" in line
        and "[0.5]" in line
        and "cartesian: [0.5, 0.5, 1.5, 0.3, 0.3, 0.7, 2.0], joint: [0.3, 2.0]" in line
    )
    assert "largest distance of the chunk from the VLA's per action dim" in line and "or A entries" in line
    assert "critic.polyak" in text and "schedule.base_episodes" in text and "rlt.features" not in text


def test_when_a_method_has_no_settings_expect_that_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no settings" in said(monkeypatch, "none")


def test_when_the_name_is_unknown_expect_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="expo"):
        said(monkeypatch, "expert")


@pytest.mark.parametrize("name", method_names())
def test_when_a_method_is_registered_expect_every_setting_of_it_explained(name: str) -> None:
    lines = settings_of(name)
    assert [f"{line.block}.{line.name}" for line in lines if not (line.text and line.kind)] == []
    assert bool(lines) or name not in online_methods()


def test_when_a_docstring_has_sections_expect_the_attributes_alone_each_on_one_line() -> None:
    found = attributes_of(Algorithm)
    assert set(found) == {"settings_type", "data_spec", "updates"}
    assert found["settings_type"].endswith("have the metadata `DERIVED`.")


def test_when_a_need_is_unknown_expect_refusal_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"luck.*demonstrations") as caught:
        MethodEntry("wins", needs=("luck",))
    assert all(need in str(caught.value) for need in NEEDS)
