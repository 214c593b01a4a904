# SPDX-License-Identifier: Apache-2.0
"""What is refused before the first process starts, with one sentence that lists the choices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl_methods.registry import METHODS, method_names
from robot_bringup.launch_runner import preflight
from robot_bringup.launch_runner.document import LaunchError
from robot_bringup.launch_runner.plan import Process
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.options import StackOptions
from whetstone_cli.cli.stack import Stack, share

LAUNCH = share() / "launch"
WRONG = [
    ({"method": "nope"}, f"method = 'nope': not one of {', '.join(map(repr, method_names()))}"),
    ({"robot": "nope"}, "'nope'.*sim_panda"),
    ({"task": "nope"}, "nope.yaml is not a file; there are insert, pick_place, stack"),
    ({"pace": "fast"}, "pace = 'fast': not one of 'realtime', 'lockstep'"),
    ({"execution": "fast"}, "execution = 'fast': not one of 'sync', 'async'"),
    ({"operator": "me"}, "operator = 'me': not one of 'none', 'keyboard', 'joy', 'scripted'"),
    ({"backend": "gpt"}, "backend = 'gpt': not one of"),
    ({"sim": "false", "pace": "lockstep"}, "pace = 'lockstep' without the simulator"),
    ({"n_candidates": "1000"}, r"steering_node: n_candidates = 1000: outside \[1, 64\]"),
    ({"viewer": "maybe"}, "sim_node: viewer = 'maybe': expected bool"),
    ({"seed": "-1"}, "sim_node: seed = -1: outside"),
    ({"backend": "pocket", "model_dir": "/nowhere"}, "vla_node: model_dir = '/nowhere': there is no such directory"),
    ({"model_dir": "package://nope/x", "backend": "pocket"}, "package 'nope' is not installed"),
    ({"train": "true", "run": "r"}, "method = 'none': not one of 'dsrl', 'expo'"),
    (
        {"train": "true", "method": "expo", "run": "r", "method_file": "/no/f.yaml"},
        "learner_node: method_file = '/no/f.yaml'",
    ),
    ({"train": "true", "method": "expo", "run": "r", "prior": "/nowhere"}, "prior = '/nowhere': there are no trans"),
    ({"train": "true", "method": "expo", "run": "../x"}, "run = '../x': must be the name of a folder"),
    ({"train": "true", "method": "expo"}, "run = '': must be the name of a folder"),
    ({"run": "a/b"}, "steering_node: run = 'a/b': must be the name of a folder"),
    ({"namespace": "2left"}, "namespace '/2left': '2left' is not allowed"),
    ({"backend": "remote", "method": "expo"}, "method = 'expo' with backend = 'remote': .* gives no features"),
    ({"backend": "remote", "model_mapping": "/no/map.yaml"}, "model_mapping = '/no/map.yaml': there is no such file"),
    ({"backend": "remote", "remote_deadline_ms": "1"}, r"remote_deadline_ms = 1: outside \[10, 60000\]"),
    ({"experiment": "/nowhere.yaml"}, "/nowhere.yaml is not a file"),
]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"robots": "robot_1"}, "vla_node: robots = 'robot_1': expected string_array"),
        ({"robots": "[robot_1]", "batch_window_s": "2.0"}, r"batch_window_s = 2.0: outside \[0.0, 0.1\]"),
    ],
)
def test_when_an_argument_of_the_node_for_several_robots_cannot_work_expect_one_sentence(
    arguments: dict[str, str], sentence: str
) -> None:
    with pytest.raises(LaunchError, match=sentence):
        preflight.check_file(LAUNCH / "vla.launch.xml", {"backend": "fake"} | arguments)


@pytest.mark.parametrize(("arguments", "sentence"), WRONG, ids=lambda value: "-".join(value) if value else "")
def test_when_an_argument_cannot_work_expect_one_sentence_with_the_choices(
    arguments: dict[str, str], sentence: str
) -> None:
    with pytest.raises(LaunchError, match=sentence) as caught:
        preflight.check_file(LAUNCH / "whetstone.launch.xml", {"backend": "fake"} | arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"pace": "lockstep", "train": "true", "method": "expo", "run": "r"},
        {"sim": "false", "robot": "ur5e", "record": "true"},
        {"sim": "false", "policy": "false"},
        {"backend": "remote", "remote": "ws://gpu-box:8000"},
    ],
)
def test_when_everything_fits_expect_no_refusal(arguments: dict[str, str]) -> None:
    preflight.check_file(LAUNCH / "whetstone.launch.xml", arguments)


def test_when_the_policy_is_served_alone_expect_lockstep_allowed() -> None:
    preflight.check_file(LAUNCH / "serve.launch.xml", {"pace": "lockstep"})


@pytest.mark.parametrize("content", ["/**/arm_node: {ros__parameters: {pac: lockstep}}", "- 1", "a: [", "a: 3"])
def test_when_an_experiment_makes_no_sense_expect_one_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(content)
    with pytest.raises(LaunchError, match="arm_node: unknown parameter 'pac'|no file of ROS parameters"):
        preflight.check_file(LAUNCH / "whetstone.launch.xml", {"backend": "fake", "experiment": str(file)})


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("/**", True), ("/**/arm_node", True), ("arm_node", False), ("/left/arm_node", True), ("/*/arm_node", True),
        ("/*", False), ("/right/arm_node", False), ("/left/**", True),
    ],
)  # fmt: skip
def test_when_a_file_names_nodes_expect_the_patterns_of_ros(tmp_path: Path, pattern: str, fits: bool) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(f'"{pattern}": {{ros__parameters: {{x: 1}}}}')
    process = Process("arm", (), {}, node="arm_node", namespace="/left", parameter_files=(file,))
    assert preflight.parameters_of(process) == ({"x": 1} if fits else {})


@pytest.mark.parametrize("method", sorted(METHODS))
def test_when_a_method_is_registered_expect_the_launch_file_to_take_it(method: str) -> None:
    preflight.check_file(LAUNCH / "whetstone.launch.xml", {"method": method, "backend": "fake"})


def test_when_a_command_is_given_a_wrong_word_expect_refusal_and_no_process(tmp_path: Path) -> None:
    stack = Stack(StackOptions("stack", backend="fake", method="nope").arguments, tmp_path / "stack.log")
    with pytest.raises(UserError, match="method = 'nope'"), stack:
        pytest.fail("it was started")
    assert not (tmp_path / "stack.log").exists()


@pytest.mark.parametrize("words", [["up", "robot:=nope"], ["eval", "--method", "nope", "--log", "x.log"]])
def test_when_the_command_line_is_wrong_expect_exit_1_and_one_sentence(tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "whetstone_cli.cli.main", *words], cwd=tmp_path, env=os.environ | {"COLUMNS": "200"},
        capture_output=True, text=True, check=False, timeout=60.0,
    )  # fmt: skip
    assert done.returncode == 1
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and "nope" in line]
    assert len(said) == 1 and "Traceback" not in done.stderr
