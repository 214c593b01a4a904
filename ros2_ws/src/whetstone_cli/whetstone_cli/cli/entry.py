# SPDX-License-Identifier: Apache-2.0
"""Entry point of `whetstone`: what cannot be imported is a sentence, and `doctor` runs all the same."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or what is left of it."""
    try:
        from whetstone_cli.cli.main import main as run
    except ImportError as error:
        if "--debug" in sys.argv:
            raise
        sys.exit(_without_imports(error))
    run()


def _without_imports(missing: ImportError) -> int:
    sys.stderr.write(f"error: {missing}\n\nBuild the workspace and source it: make setup, source tools/env.sh\n")
    if "doctor" not in sys.argv:
        return 1
    try:
        from whetstone_cli.cli.doctor import findings
    except ImportError:
        return 1
    for finding in findings():
        sys.stdout.write(f"{'ok' if finding.ok else 'no'}  {finding.name}: {finding.detail}  {finding.fix}\n")
    return 1
