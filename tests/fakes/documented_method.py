# SPDX-License-Identifier: Apache-2.0
"""The method that docs/tutorials/add-a-method.md writes, registered as its reader would."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from rl_methods.registry import METHODS, MethodEntry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "add-a-method.md"
PACKAGE = "documented_nudge"


def documented() -> tuple[str, str, str]:
    """Module, settings and registry line, as they stand in the text."""
    module, settings, line = re.findall(r"```(?:python|yaml)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return module, settings, line


def register(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the method's folder and add its line to the registry, for one test."""
    module, settings, line = documented()
    package = folder / PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "method.py").write_text(module, encoding="utf-8")
    (package / "settings.yaml").write_text(settings, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    monkeypatch.delitem(sys.modules, f"{PACKAGE}.method", raising=False)
    ((name, summary, policy, algorithm),) = re.findall(r'"(\w+)": MethodEntry\("(.*?)", "(.*?)", "(.*?)"\)', line)
    paths = (path.replace("rl_methods.nudge", PACKAGE) for path in (policy, algorithm))
    monkeypatch.setitem(METHODS, name, MethodEntry(summary, *paths))
