# SPDX-License-Identifier: Apache-2.0
"""The schema of parameters: what it accepts, what it refuses, and in which words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from whetstone_common.core.parameters import ParameterError, ParameterSchema, ParameterSpec

RATE = ParameterSpec("rate_hz", "double", 10.0, "Rate [Hz].", bounds=(1.0, 100.0))
NAMES = ParameterSpec("names", "string_array", [], "Names.")
GAINS = ParameterSpec("gains", "double_array", [1.0, 1.0], "Gains.", bounds=(0.0, 2.0), length=2)


def schema(tmp_path: Path, **entries: Any) -> ParameterSchema:
    """Schema of entries, written to a file and read back."""
    file = tmp_path / "node_params.yaml"
    file.write_text(yaml.safe_dump(entries), encoding="utf-8")
    return ParameterSchema.load(file)


def test_when_a_whole_number_is_given_for_a_double_expect_a_float() -> None:
    assert RATE.check(5) == 5.0 and isinstance(RATE.check(5), float)


@pytest.mark.parametrize("value", [True, "5", None, [5.0], 0.999, 100.001, math.nan, math.inf, -math.inf])
def test_when_a_value_does_not_fit_expect_the_name_and_the_value_in_the_refusal(value: Any) -> None:
    with pytest.raises(ParameterError, match="rate_hz") as refused:
        RATE.check(value)
    assert repr(value) in str(refused.value)


def test_when_out_of_range_expect_the_range_in_the_refusal() -> None:
    with pytest.raises(ParameterError, match=r"\[1\.0, 100\.0\]"):
        RATE.check(0.0)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_when_any_float_is_given_expect_it_taken_exactly_when_in_range(value: float) -> None:
    try:
        taken = RATE.check(value)
    except ParameterError:
        assert not 1.0 <= value <= 100.0
    else:
        assert taken == value and 1.0 <= value <= 100.0


def test_when_a_list_is_given_expect_every_element_checked() -> None:
    assert GAINS.check((1, 2.0)) == [1.0, 2.0] and NAMES.check(["a"]) == ["a"]
    for wrong in ([1.0], [1.0, 2.1], [1.0, math.nan], "ab", 1.0, [1.0, "a"]):
        with pytest.raises(ParameterError, match="gains"):
            GAINS.check(wrong)


def test_when_a_choice_is_wrong_expect_the_choices_named(tmp_path: Path) -> None:
    made = schema(tmp_path, pace={"type": "string", "default": "a", "description": "Pace.", "one_of": ["a", "b"]})
    assert made.check({"pace": "b"}) == {"pace": "b"}
    with pytest.raises(ParameterError, match="'a', 'b'"):
        made.check({"pace": "c"})


@pytest.mark.parametrize(
    ("entry", "limits", "constraints"),
    [
        ({"type": "int", "default": 3, "bounds": [1, 5]}, (1, 5), ""),
        ({"type": "double", "default": 3.0}, None, "finite"),
        (
            {"type": "double", "default": 3.0, "bounds": [0, 5], "locked_while_armed": True},
            (0, 5),
            "locked while armed",
        ),
        ({"type": "string", "default": "a", "one_of": ["a", "b"]}, None, "one of 'a', 'b'"),
        (
            {"type": "double_array", "default": [0.5, 1.0], "bounds": [0.0, 2.0], "length": 2},
            None,
            "exactly 2 elements; each element in [0.0, 2.0]",
        ),
    ],
)
def test_when_a_parameter_is_described_expect_all_that_its_values_must_be(
    tmp_path: Path, entry: dict[str, Any], limits: Any, constraints: str
) -> None:
    spec = schema(tmp_path, speed=entry | {"description": "Speed."}).specs["speed"]
    assert (spec.range, spec.constraints) == (limits, constraints)


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "double", "default": 1.0},
        {"type": "double", "description": "No default."},
        {"type": "float", "default": 1.0, "description": "No such type."},
        {"type": "double", "default": 1.0, "description": "No such key.", "maximum": 3},
        {"type": "double", "default": 3.0, "description": "Default out of range.", "bounds": [0.0, 1.0]},
        {"type": "double", "default": math.nan, "description": "Default is not a number."},
        {"type": "int", "default": 1.5, "description": "Default of another type."},
        {"type": "double_array", "default": [1.0], "description": "Default too short.", "length": 2},
        {"type": "double", "default": 1.0, "description": "Bounds swapped.", "bounds": [2.0, 0.0]},
        {"type": "double", "default": 1.0, "description": "One bound.", "bounds": [0.0]},
        {"type": "double", "default": 1.0, "description": "Bound is not a number.", "bounds": [0.0, math.nan]},
        "not a table",
    ],
)
def test_when_a_schema_breaks_the_format_expect_refusal_that_names_the_parameter(tmp_path: Path, entry: Any) -> None:
    with pytest.raises(ParameterError, match="speed"):
        schema(tmp_path, speed=entry)


def test_when_a_schema_is_no_table_expect_refusal(tmp_path: Path) -> None:
    file = tmp_path / "node_params.yaml"
    file.write_text("- a\n- b\n", encoding="utf-8")
    with pytest.raises(ParameterError):
        ParameterSchema.load(file)


def test_when_a_name_is_declared_twice_expect_refusal(tmp_path: Path) -> None:
    entry = {"type": "bool", "default": True, "description": "Once."}
    for name in ("common", "own"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"autostart": entry}), encoding="utf-8")
    with pytest.raises(ParameterError, match="autostart"):
        ParameterSchema.load(tmp_path / "own.yaml", include=tmp_path / "common.yaml")


def test_when_a_parameter_was_renamed_expect_the_refusal_to_name_the_new_one(tmp_path: Path) -> None:
    found = schema(
        tmp_path, new_s={"type": "double", "default": 1.0, "description": "A time.", "renamed_from": "old_s"}
    )
    with pytest.raises(ParameterError, match="parameter 'old_s' is now called 'new_s'"):
        found.check({"old_s": 2.0})
    with pytest.raises(ParameterError, match="unknown parameter 'older_s'"):
        found.check({"older_s": 2.0})
