# SPDX-License-Identifier: Apache-2.0
"""The command line where no robot is needed: arguments, refusals, domains, what doctor looks at."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from whetstone_cli.cli import demos
from whetstone_cli.cli.doctor import check_cores, check_python, check_wheels, file_digests
from whetstone_cli.cli.domain import is_free, used_udp_ports
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.main import app
from whetstone_cli.cli.options import StackOptions, task_names, words_of
from whetstone_cli.cli.stack import launch_command, own_environment
from whetstone_cli.core.report import Evaluation, rows_of
from whetstone_common.core.enums import Outcome


def test_when_asked_for_help_expect_every_command() -> None:
    output = CliRunner().invoke(app, ["--help"]).output
    for command in ("up", "eval", "train", "demo", "demos", "export", "doctor"):
        assert command in output


def test_when_one_model_is_to_serve_several_robots_expect_its_launch_file_with_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr("os.execve", lambda _path, command, _environment: ran.append(command))
    done = CliRunner().invoke(app, ["up", "--robots", "left,right", "backend:=fake"])
    assert done.exit_code == 0 and ran[0][-2:] == ["backend:=fake", "robots:=[left, right]"], done.output
    assert ran[0][-3].endswith("vla.launch.xml")
    assert CliRunner().invoke(app, ["up", "--robots", "left", "--namespace", "right"]).exit_code != 0


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("whetstone ev", {"eval"}),
        ("whetstone eval --task p", {"pick_place"}),
        ("whetstone eval --robot ", {"franka_fr3", "sim_panda", "so101", "ur5e"}),
        ("whetstone train --method hil", {"hil_serl"}),
        ("whetstone mark su", {"success"}),
    ],
)
def test_when_the_shell_asks_what_may_follow_expect_the_choices(line: str, choices: set[str]) -> None:
    env = {"_WHETSTONE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    output = CliRunner().invoke(app, prog_name="whetstone", env=env).output
    assert set(output.split()) == choices


def test_when_the_task_is_unknown_expect_the_choices() -> None:
    with pytest.raises(UserError, match="pick_place"):
        StackOptions("juggle").check()


def test_when_a_task_is_given_by_path_expect_its_name_and_its_file_in_the_launch_arguments(tmp_path: Path) -> None:
    path = tmp_path / "tray.yaml"
    with pytest.raises(UserError, match="there is no task file"):
        StackOptions(str(path)).check()
    path.write_text("/**/episode_node:\n  ros__parameters: {task: tray}\n", encoding="utf-8")
    with pytest.raises(UserError, match="no parameter scene"):
        StackOptions(str(path)).check()
    options = StackOptions(str(path), sim=False, pace="realtime").check()
    assert options.task_name == "tray"
    assert options.arguments["task"] == "tray" and options.arguments["task_file"] == str(path)
    assert "task_file" not in StackOptions("stack").arguments


def test_when_the_robot_is_unknown_expect_the_choices() -> None:
    with pytest.raises(UserError, match="sim_panda"):
        StackOptions("stack", robot="roomba").check()


def test_when_a_real_arm_should_wait_expect_refusal() -> None:
    with pytest.raises(UserError, match="does not wait"):
        StackOptions("stack", sim=False).check()


def test_when_a_stack_is_described_expect_launch_arguments_that_the_file_knows() -> None:
    options = StackOptions("stack", sim=False, pace="realtime", n_candidates=4, extra=(("record", "true"),))
    assert options.arguments["sim"] == "false"
    assert options.arguments["n_candidates"] == "4"
    launch_file = Path(launch_command("whetstone.launch.xml", {})[3]).read_text(encoding="utf-8")
    for name in (*options.arguments, "model_dir", "operator", "expert", "record_dir", "experiment", "command_log"):
        assert f'<arg name="{name}"' in launch_file


def test_when_a_real_arm_runs_expect_no_simulator_among_the_nodes() -> None:
    assert "sim_node" not in StackOptions("stack", sim=False).nodes


@pytest.mark.parametrize("task", ["insert", "pick_place", "stack"])
def test_when_listed_expect_the_shipped_tasks(task: str) -> None:
    assert task in task_names()


def test_when_the_user_has_set_the_environment_expect_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    env = own_environment(42)
    assert env["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    assert env["ROS_DOMAIN_ID"] == "42"
    assert Path(env["FASTDDS_DEFAULT_PROFILES_FILE"]).is_file()


def test_when_a_port_of_a_domain_is_used_expect_it_is_not_free() -> None:
    table = "  sl  local_address rem_address\n  0: 0100007F:2AF8 00000000:0000 07\n"
    assert used_udp_ports(table) == {0x2AF8}
    assert not is_free((0x2AF8 - 7400) // 250, {0x2AF8})
    assert is_free(99, {0x2AF8})


def test_when_a_manifest_lists_files_expect_their_digests_wherever_they_stand() -> None:
    digest = "a" * 64
    manifest = {
        "version": "1.0",
        "files": {"model.safetensors": digest, "stats.json": {"sha256": digest, "bytes": 3}},
        "contract": "b" * 64,
    }
    assert file_digests(manifest) == {"model.safetensors": digest, "stats.json": digest}


def test_when_this_machine_runs_the_tests_expect_python_and_wheels_to_be_fine() -> None:
    assert check_python().ok
    assert check_wheels().ok
    assert check_cores().detail.endswith("cores")


def test_when_the_dataset_folder_exists_expect_refusal_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "lerobot").mkdir()
    with pytest.raises(UserError, match="exists"):
        demos.run(demos.DemosOptions("stack", 1, 0, tmp_path))


def test_when_recordings_cannot_be_read_expect_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"a\.mcap"):
        demos.export([tmp_path / "a.mcap"], tmp_path / "set", "sim_panda")


def test_when_nothing_was_judged_expect_no_rate_to_be_claimed() -> None:
    rows = rows_of("stack", "", seeds=[1], outcomes=[Outcome.ABORTED], steps=[0], durations_s=[0.0])
    assert Evaluation("stack", "", rows, 1.0).rate.episodes == 0


@pytest.mark.parametrize("words", ["   ", "x" * 2000, "put it\ndown", "\udcff"])
def test_when_the_instruction_cannot_be_said_expect_refusal_before_anything_starts(words: str) -> None:
    with pytest.raises(UserError, match="--instruction: the instruction"):
        words_of(words)
    with pytest.raises(UserError, match="--instruction"):
        app(["eval", "--instruction", words], standalone_mode=False)


def test_when_the_instruction_has_white_space_around_it_expect_it_gone() -> None:
    assert words_of(" stack it\n") == "stack it"
    assert words_of("") == ""


def test_when_an_option_was_renamed_expect_its_new_name():
    done = CliRunner().invoke(app, ["eval", "--other-words"], env={"COLUMNS": "200"})
    assert done.exit_code == 2 and "now called --other-instruction" in done.output
    assert "--other-words" not in CliRunner().invoke(app, ["eval", "--help"]).output
