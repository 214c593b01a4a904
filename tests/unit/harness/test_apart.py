# SPDX-License-Identifier: Apache-2.0
"""Tests that run in processes of their own: what the run hears of them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
_CONFTEST = """
import pytest
from harness.apart import report_apart

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    return report_apart(item)
"""


def run(folder: Path, body: str) -> str:
    """Output of a test run of one file."""
    (folder / "conftest.py").write_text(_CONFTEST, encoding="utf-8")
    (folder / "test_it.py").write_text(textwrap.dedent(body), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env={"PYTHONPATH": str(TESTS), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )
    return done.stdout


def test_when_tests_pass_fail_and_are_skipped_expect_each_reported_as_it_ended(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        import pytest

        def test_right(): pass
        def test_wrong(): assert 1 + 1 == 3
        def test_left_out(): pytest.skip("no arm")
        """,
    )
    assert "1 failed, 1 passed, 1 skipped" in out
    assert "assert (1 + 1) == 3" in out
    assert "no arm" in out


@pytest.mark.parametrize(("end", "code"), [("os._exit(3)", "3"), ("os.kill(os.getpid(), 11)", "-11")])
def test_when_the_process_of_a_test_dies_expect_a_failure_that_names_its_end_and_the_next_test_run(
    tmp_path: Path, end: str, code: str
) -> None:
    out = run(tmp_path, f"import os\n\ndef test_dies(): {end}\n\ndef test_next(): pass\n")
    assert "1 failed, 1 passed" in out
    assert f"the process of the test ended with {code}" in out


def test_when_the_process_hangs_after_its_reports_expect_the_test_judged_by_them(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        import time
        from harness import apart

        apart.LEAVE_S = 0.2

        def test_hangs_when_it_leaves(): apart.after_reports(lambda: time.sleep(60))
        """,
    )
    assert "1 passed" in out


def test_when_a_test_changes_the_process_expect_the_next_one_untouched(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        import os

        def test_changes(): os.environ["LEFT_BEHIND"] = "yes"
        def test_next(): assert "LEFT_BEHIND" not in os.environ
        """,
    )
    assert "2 passed" in out
