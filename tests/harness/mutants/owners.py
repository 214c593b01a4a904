# SPDX-License-Identifier: Apache-2.0
"""Removed protections of whatever starts the nodes, and of nodes that are asked to end."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from harness.mutants import replace

_RUNNER = "robot_bringup.launch_runner.processes"


def printing_comes_first() -> None:
    """A signal is put on the terminal before anything is stopped."""

    def interrupt(self: Any, number: int) -> None:
        os.write(1, b"ending all processes\n")
        original(self, number)

    original = replace(f"{_RUNNER}:Launch._interrupt", interrupt)


def children_are_orphaned() -> None:
    """What was started goes on when the one that started it is gone."""
    replace(f"{_RUNNER}:die_with_parent", lambda: None)


def only_the_main_thread_hears() -> None:
    """A signal is looked at between two turns of the executor, so not while a model is loaded."""

    def on_signal(self: Any, _number: int, _frame: Any) -> None:
        self.is_set = True

    replace("whetstone_common.nodes.stopping:Stop._on_signal", on_signal)
    replace("whetstone_common.nodes.stopping:Stop._watch", lambda _self: None)


OWNERS: dict[str, Callable[[], None]] = {
    mutation.__name__: mutation
    for mutation in (children_are_orphaned, only_the_main_thread_hears, printing_comes_first)
}
