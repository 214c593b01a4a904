# SPDX-License-Identifier: Apache-2.0
"""Each process test in a process of its own, forked from the test run.

A test listens through the middleware too. Fast DDS has been seen to hang for ever, holding the interpreter's lock,
while a test left its domain: the worker was lost, and a test that had been judged was called failed. Here the reports
are handed over first. The domain is left after it, and a process that hangs meanwhile is ended.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

# Longer than any test may take together with its turn at the cores.
LIMIT_S = 1500.0
LEAVE_S = 10.0
_farewells: list[Callable[[], None]] = []


def after_reports(farewell: Callable[[], None]) -> None:
    """Do this in the process of the test when its reports are handed over, in the order of the calls."""
    _farewells.append(farewell)


def report_apart(item: pytest.Item) -> bool:
    """`pytest_runtest_protocol` for tests in processes of their own."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in run_apart(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def run_apart(item: pytest.Item) -> list[pytest.TestReport]:
    """Run a test in a forked process.

    Returns:
        Reports of set-up, call and tear-down; one failure that names the exit when the process handed over none.
    """
    # made here, or each process would make a folder of its own
    item.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # noqa: SLF001
    handle, name = tempfile.mkstemp(prefix="whetstone_reports_", suffix=".json")
    os.close(handle)
    reports = Path(name)
    pid = os.fork()
    if pid == 0:
        _child(item, reports)
    watchdog = threading.Timer(LIMIT_S, _kill, (pid,))
    watchdog.start()
    try:
        _, status = os.waitpid(pid, 0)
    except KeyboardInterrupt:
        _kill(pid)
        raise
    finally:
        watchdog.cancel()
    text = reports.read_text(encoding="utf-8")
    reports.unlink()
    if not text:
        return [_lost(item, os.waitstatus_to_exitcode(status))]
    restore = item.config.hook.pytest_report_from_serializable
    restored = [restore(config=item.config, data=data) for data in json.loads(text)]
    for report in restored:
        if isinstance(report.longrepr, list):  # where a test was skipped, and why: JSON knows no tuples
            report.longrepr = tuple(report.longrepr)
    return restored


def _child(item: pytest.Item, reports: Path) -> None:
    code = 1
    try:
        made = runtestprotocol(item, log=False, nextitem=None)
        plain = item.config.hook.pytest_report_to_serializable
        text = json.dumps([plain(config=item.config, report=report) for report in made], default=str)
        whole = reports.with_suffix(".part")
        whole.write_text(text, encoding="utf-8")
        whole.replace(reports)
        code = 0
        faulthandler.dump_traceback_later(LEAVE_S, exit=True)
        for farewell in _farewells:
            farewell()
    finally:
        # no exit handlers: those of the test run belong to the process that it was forked from
        os._exit(code)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 9)


def _lost(item: pytest.Item, code: int) -> pytest.TestReport:
    call = pytest.CallInfo.from_call(lambda: pytest.fail(f"the process of the test ended with {code}"), "call")
    return pytest.TestReport.from_item_and_call(item, call)
