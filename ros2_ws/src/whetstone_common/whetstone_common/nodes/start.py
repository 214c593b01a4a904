# SPDX-License-Identifier: Apache-2.0
"""Entry points of nodes: signals are heard before the imports begin, which take seconds."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from whetstone_common.nodes.stopping import catch_signals


def entry_point(module: str) -> Callable[[], None]:
    """The function that a script calls to run the node of a module."""

    def main() -> None:
        catch_signals()
        importlib.import_module(module).main()

    return main
