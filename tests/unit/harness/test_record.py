# SPDX-License-Identifier: Apache-2.0
"""Numbers are kept."""

from __future__ import annotations

import json
from pathlib import Path

from harness.record import summary, write_row


def test_when_a_case_is_measured_twice_expect_both_numbers(tmp_path: Path) -> None:
    write_row("1", "kill9", {"stop_s": 0.1}, ok=True, folder=tmp_path)
    path = write_row("1", "kill9", {"stop_s": 0.3}, ok=False, folder=tmp_path)
    case = json.loads(path.read_text())["cases"]["kill9"]
    assert case == {"ok": 1, "failed": 1, "numbers": {"stop_s": [0.1, 0.3]}}
    assert summary(case["numbers"]["stop_s"]) == (0.2, 0.3, 2)
