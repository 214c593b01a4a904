# SPDX-License-Identifier: Apache-2.0
"""`whetstone status`: every node of the stack that runs, its state and why."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from whetstone_cli.cli.graph import Graph
from whetstone_cli.cli.operate import PANEL
from whetstone_cli.cli.options import Namespace
from whetstone_cli.cli.screen import console
from whetstone_common.core.reason import Reason, State, sentence

# Nodes say their state twice a second.
_LISTEN_S = 1.3
_REFRESH_S = 0.5
_STYLES = {State.ERROR: "red", State.STOPPED: "red", State.HOLDING: "yellow", State.STARTING: "yellow"}


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(rich_help_panel=PANEL)(status)


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False, namespace: Namespace = ""
) -> None:
    """Show every node, its state, the reason and how old that is."""
    with Graph(namespace) as graph:
        if not graph.spin_until(lambda: graph.statuses):
            raise graph.missing("node of Whetstone")
        graph.spin_until(lambda: False, _LISTEN_S)
        if not watch:
            console.print(_table(graph))
            return
        with Live(_table(graph), console=console, auto_refresh=False) as live:
            while True:
                graph.spin_until(lambda: False, _REFRESH_S)
                live.update(_table(graph), refresh=True)


def _table(graph: Graph) -> Table:
    now_s = time.monotonic()
    table = Table("node", "state", "reason", "in words", "age")
    for name, (seen_s, msg) in sorted(graph.statuses.items()):
        state = State(msg.state)
        reason = "" if msg.reason == Reason.NONE else Reason(msg.reason).name
        table.add_row(
            name,
            Text(state.name, _STYLES.get(state, "")),
            reason,
            Text(sentence(state, Reason(msg.reason), msg.detail)),
            f"{now_s - seen_s:.1f} s",
        )
    return table
