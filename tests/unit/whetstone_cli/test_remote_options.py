# SPDX-License-Identifier: Apache-2.0
"""A policy server on the command line: the launch arguments that follow from its address, and the report."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes.policy_server import PolicyServer, still, write_mapping
from whetstone_cli.cli.commands import up as up_command
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.main import app
from whetstone_cli.cli.model_options import remote_arguments


def test_when_a_server_is_named_expect_its_backend_its_mapping_and_padded_images(tmp_path: Path) -> None:
    mapping = write_mapping(tmp_path)
    assert remote_arguments("ws://gpu-box:8000", mapping) == {
        "backend": "remote", "remote": "ws://gpu-box:8000", "crop": "pad", "model_mapping": str(mapping),
    }  # fmt: skip
    with pytest.raises(UserError, match="ws://HOST:PORT"):
        remote_arguments("gpu-box:8000", None)


def test_when_the_stack_is_started_with_a_server_expect_images_padded_unless_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda _program, command, _environment: started.append(command))
    up_command.up(["remote:=ws://gpu-box:8000", "model_mapping:=my.yaml"])
    up_command.up(["remote:=ws://gpu-box:8000", "crop:=center"])
    assert {"backend:=remote", "remote:=ws://gpu-box:8000", "model_mapping:=my.yaml", "crop:=pad"} <= set(started[0])
    assert "crop:=center" in started[1]


def test_when_a_server_is_inspected_expect_the_report_and_the_command_that_starts_it(tmp_path: Path) -> None:
    server, mapping = PolicyServer(still()), write_mapping(tmp_path)
    try:
        words = ["model", "inspect", server.address, "--mapping", str(mapping), "--json", str(tmp_path / "report.json")]
        result = CliRunner().invoke(app, words)
    finally:
        server.close()
    assert result.exit_code == 0, result.output
    assert "backend:=remote" in result.output and "16 steps of 7" in result.output
    assert json.loads((tmp_path / "report.json").read_text())["can_be_served"]
