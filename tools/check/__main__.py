# SPDX-License-Identifier: Apache-2.0
"""`python tools/check [NAME...]`: every check that a change has to pass, or the named ones. Runs all, then sums up."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import imports
import links
import manifests
import names as class_names
import parameters
import secrets_scan
import sizes
from sources import PACKAGES, ROOT, SRC, tracked

PYTHON = sys.executable
Check = Callable[[], int]


def command(*argv: str | Path) -> Check:
    """Make a check out of a command: it passes when the command exits with 0."""

    def check() -> int:
        return subprocess.run([str(a) for a in argv], cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode

    return check


def spelling() -> int:
    """Look for misspelt words in what is tracked."""
    words = [p for p in tracked() if p.suffix in {".py", ".md", ".yaml", ".yml", ".toml", ".msg", ".srv", ".action"}]
    return command(Path(PYTHON).parent / "codespell", *words)()


def types() -> int:
    """Check the types: strictly in core/, normally in nodes/ and the rest of the packages."""
    return command(PYTHON, "-m", "mypy", *(SRC / name / name for name in PACKAGES))()


def docs() -> int:
    """Build the documentation site; a link that leads nowhere fails it."""
    if find_spec("mkdocs") is None:
        print("mkdocs is missing: python3 tools/setup --extra docs")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        argv = [PYTHON, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
        # without this the theme prints an advertisement at each build
        env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
        return subprocess.run(argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, check=False).returncode


CHECKS: dict[str, Check] = {
    "format": command(PYTHON, "-m", "ruff", "format", "--check", "--quiet", "."),
    "lint": command(PYTHON, "-m", "ruff", "check", "--quiet", "."),
    "imports": imports.main,
    "names": class_names.main,
    "sizes": sizes.main,
    "parameters": parameters.main,
    "manifests": manifests.main,
    "secrets": secrets_scan.main,
    "spelling": spelling,
    "links": links.main,
    "docs": docs,
    "types": types,
}


def main(names: list[str]) -> int:
    """Run the checks and say which failed."""
    unknown = sorted(set(names) - set(CHECKS))
    if unknown:
        print(f"unknown check {unknown[0]!r}; there are {', '.join(CHECKS)}")
        return 2
    failed = []
    for name in names or CHECKS:
        begin_s = time.monotonic()
        code = CHECKS[name]()
        verdict = "ok" if code == 0 else "FAILED"
        print(f"[check] {name:<11} {verdict} ({time.monotonic() - begin_s:.1f} s)", flush=True)
        if code != 0:
            failed.append(name)
    if failed:
        print(f"[check] failed: {', '.join(failed)}; `make format` mends format and much of lint")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
