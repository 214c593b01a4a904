# SPDX-License-Identifier: Apache-2.0
"""Dockerfile and compose file, as far as they can be judged where there is no Docker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]


def arguments_of(launch_file: str) -> set[str]:
    """Names of a launch file's arguments."""
    return {str(each.get("name")) for each in ElementTree.parse(ROOT / "launch" / launch_file).getroot().findall("arg")}


def test_when_the_dockerfile_is_linted_expect_nothing() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_when_files_are_copied_or_run_in_the_image_expect_them_in_the_repository() -> None:
    entry = re.search(r'ENTRYPOINT \["/whetstone/(.*)"\]', DOCKERFILE)
    assert entry is not None and os.access(ROOT / entry[1], os.X_OK)
    assert subprocess.run(["bash", "-n", ROOT / entry[1]], check=False).returncode == 0
    version = re.search(r'^TORCH = "(.*)"$', (ROOT / "tools/setup/environment.py").read_text(), re.MULTILINE)
    assert version is not None, "the image finds torch's version there"


@pytest.mark.parametrize("name", SERVICES)
def test_when_a_service_is_started_expect_a_target_and_arguments_that_exist(name: str) -> None:
    service = SERVICES[name]
    assert f" AS {service['build']['target']}\n" in DOCKERFILE
    words = service["command"]
    launch_file = "whetstone.launch.xml" if words[0] == "whetstone" else Path(words[3]).name
    given = {word.partition(":=")[0] for word in words if ":=" in word}
    assert given and given <= arguments_of(launch_file)


def test_when_policy_and_arm_are_apart_expect_neither_twice() -> None:
    assert "policy:=false" in SERVICES["robot"]["command"]
    assert {service["profiles"][0] for service in SERVICES.values()} == {"robot", "gpu", "learner"}
    environments = [service["environment"] for service in SERVICES.values() if "environment" in service]
    assert all(each["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET" for each in environments)
