# SPDX-License-Identifier: Apache-2.0
"""The page of the rows names tests that exist and shows what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.matrix import ROWS, Row
from harness.record import ROOT
from harness.report import load, page


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_when_a_row_names_a_test_expect_the_file(row: Row) -> None:
    missing = [path for path in row.tests if not (ROOT / path).is_file()]
    assert not missing


def test_when_figures_exist_expect_median_and_worst_on_the_page(tmp_path: Path) -> None:
    numbers = {"stop_s": [0.1, 0.2, 0.6], "takeover_s": [0.004]}
    data = {"row": "45", "cases": {"takeover": {"ok": 3, "failed": 0, "numbers": numbers}}}
    (tmp_path / "45.json").write_text(json.dumps(data))
    text = page(load(tmp_path))
    assert "| 45 | takeover | 3 | 3 | 0.2 / 0.6 | – |" in text
    assert "takeover 0.004 / 0.004 s" in text


def test_when_nothing_was_measured_expect_the_rows_all_the_same(tmp_path: Path) -> None:
    text = page(load(tmp_path))
    assert all(f"| {row.number} | {row.fault} |" in text for row in ROWS)
