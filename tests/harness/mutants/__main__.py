# SPDX-License-Identifier: Apache-2.0
"""Entry point: `python -m harness.mutants <mutation> <module of the node> [arguments of the node]`."""

from __future__ import annotations

import importlib
import sys

from harness.mutants.registry import MUTATIONS


def main() -> None:
    """Remove one protection, then start the node as its own entry point would."""
    mutation, module = sys.argv[1:3]
    del sys.argv[1:3]
    MUTATIONS[mutation]()
    importlib.import_module(module).main()


if __name__ == "__main__":
    main()
