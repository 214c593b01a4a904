# SPDX-License-Identifier: Apache-2.0
"""What the page orders, as arguments of `whetstone train` that the command itself understands."""

from __future__ import annotations

import inspect
import math
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from operator_console.core.run_order import RunOrder, RunRefusedError, resume_arguments
from operator_console.core.runs import RunState, RunView
from whetstone_cli.cli.commands.train import train
from whetstone_cli.cli.run_settings import RunSettings
from whetstone_common.core.run_session import RunSession

ORDER = RunOrder("mine", "pick_place", "expo", minutes=19.0, evaluate_every_min=2.0)


def options(arguments: list[str]) -> dict[str, str]:
    assert arguments[0] == "train"
    return dict(word.removeprefix("--").partition("=")[::2] for word in arguments[1:])


def test_when_a_run_is_ordered_expect_one_argument_per_setting() -> None:
    given = options(ORDER.arguments(Path("/runs")))
    assert given["run"] == "mine" and given["runs"] == "/runs" and given["minutes"] == "19.0"
    assert given["evaluate-every-min"] == "2.0" and "prior" not in given and "record" not in given


def test_when_a_setting_of_a_run_is_passed_on_expect_an_option_of_the_command() -> None:
    known = {name.replace("_", "-") for name in inspect.signature(train).parameters}
    settings = asdict(RunSettings("pick_place", "expo", 3, model_dir="m", method_file="f", prior="p", distil=True))
    run = RunView("mine", RunState.STOPPED, settings, session=RunSession(5.0, record=True))
    given = options(resume_arguments(run, Path("/runs")))
    assert set(given) <= known
    assert {field.name.replace("_", "-") for field in fields(RunSettings)} <= set(given)
    assert given["distil"] == given["record"] == ""


def test_when_only_steps_bound_a_run_expect_a_robot_time_that_does_not() -> None:
    given = options(replace(ORDER, minutes=0.0, max_steps=500).arguments(Path("/runs")))
    assert float(given["minutes"]) > 1e5 and given["max-steps"] == "500"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ""}, "folder"),
        ({"name": "../x"}, "folder"),
        ({"minutes": 0.0}, "no budget"),
        ({"minutes": math.nan}, "robot time"),
        ({"max_steps": -1}, "control steps"),
        ({"operator": "keyboard"}, "scripted, none"),
    ],
)
def test_when_an_order_cannot_be_carried_out_expect_a_sentence(changes: dict[str, object], says: str) -> None:
    with pytest.raises(RunRefusedError, match=says):
        replace(ORDER, **changes).check()  # type: ignore[arg-type]


def test_when_a_run_does_not_say_its_budget_expect_the_command_to_go_on_with_it() -> None:
    with pytest.raises(RunRefusedError, match="whetstone train --run old"):
        resume_arguments(RunView("old", RunState.STOPPED, {"task": "pick_place"}), Path("/runs"))
