# SPDX-License-Identifier: Apache-2.0
"""Doctor, and the other commands, where something of the machine is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from whetstone_cli.cli import doctor, middleware
from whetstone_cli.cli.doctor import Finding
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.stack import launch_command

UNKNOWN = "rmw_nobody_cpp"


def test_when_a_check_fails_itself_expect_a_finding_and_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_disk() -> Finding:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(doctor, "CHECKS", (check_disk, doctor.check_python))
    first, second = doctor.findings()
    assert (first.name, first.ok) == ("disk", False) and "Input/output error" in first.detail
    assert second.ok


def test_when_the_workspace_is_looked_at_expect_every_package_of_it() -> None:
    source = Path(__file__).resolve().parents[3] / "ros2_ws" / "src"
    assert set(doctor.PACKAGES) == {path.parent.name for path in source.glob("*/package.xml")}
    assert doctor.check_workspace().detail == f"{len(doctor.PACKAGES)} packages"


def test_when_a_middleware_is_not_installed_expect_its_name_and_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMW_IMPLEMENTATION", UNKNOWN)
    finding = doctor.check_middleware()
    assert not finding.ok
    assert UNKNOWN in finding.detail and middleware.installed()[0] in finding.detail
    with pytest.raises(UserError, match=UNKNOWN):
        launch_command("whetstone.launch.xml", {})


@pytest.mark.parametrize("name", ["", middleware.installed()[0]])
def test_when_the_middleware_is_there_expect_no_complaint(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("RMW_IMPLEMENTATION", name)
    assert middleware.unknown() == ""
    assert doctor.check_middleware().ok


@pytest.mark.parametrize("words", [["up"], ["eval", "--attach"]])
def test_when_a_command_needs_the_middleware_expect_one_sentence(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, "-m", "whetstone_cli.cli.main", *words, RMW_IMPLEMENTATION=UNKNOWN)
    assert done.returncode == 1
    assert f"RMW_IMPLEMENTATION = '{UNKNOWN}' is not installed" in done.stdout
    assert "Traceback" not in done.stderr


def test_when_everything_is_poor_expect_doctor_to_run_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "doctor.json"
    poor = {"RMW_IMPLEMENTATION": UNKNOWN, "HOME": "", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = run(tmp_path, "-m", "whetstone_cli.cli.main", "doctor", "--json", str(file), **poor)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    by_name = {finding["name"]: finding for finding in json.loads(file.read_text())["findings"]}
    assert not by_name["middleware"]["ok"]
    assert by_name["DDS"]["ok"] and by_name["Python"]["ok"]


def test_when_a_module_is_missing_expect_a_sentence_and_what_doctor_can_still_see(tmp_path: Path) -> None:
    (tmp_path / "vla_interfaces.py").write_text("raise ImportError('vla_interfaces was not built')")
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    code = "from whetstone_cli.cli.entry import main; main()"
    done = run(tmp_path, "-c", code, "up", PYTHONPATH=path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: vla_interfaces was not built") and "Traceback" not in done.stderr


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=os.environ | {"COLUMNS": "200"} | environment, capture_output=True,
        text=True, check=False, timeout=120.0,
    )  # fmt: skip
