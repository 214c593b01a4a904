# SPDX-License-Identifier: Apache-2.0
"""Numbers are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import record
from harness.record import summary, write_row


def test_when_a_case_is_measured_twice_expect_both_numbers(tmp_path: Path) -> None:
    write_row("1", "kill9", {"stop_s": 0.1}, ok=True, folder=tmp_path)
    path = write_row("1", "kill9", {"stop_s": 0.3}, ok=False, folder=tmp_path)
    case = json.loads(path.read_text())["cases"]["kill9"]
    assert case == {"ok": 1, "failed": 1, "numbers": {"stop_s": [0.1, 0.3]}}
    assert summary(case["numbers"]["stop_s"]) == (0.2, 0.3, 2)


def test_when_a_new_run_measures_expect_the_old_figures_to_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_row("1", "kill9", {"stop_s": 0.1}, ok=True, folder=tmp_path)
    write_row("1", "SIGSTOP", {"stop_s": 0.2}, ok=True, folder=tmp_path)
    monkeypatch.setattr(record, "_RUN", "the next one")
    path = write_row("1", "kill9", {"stop_s": 0.5}, ok=True, folder=tmp_path)
    cases = json.loads(path.read_text())["cases"]
    assert cases["kill9"]["numbers"]["stop_s"] == [0.5]
    assert cases["SIGSTOP"]["numbers"]["stop_s"] == [0.2]
