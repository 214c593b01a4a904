# SPDX-License-Identifier: Apache-2.0
"""Waits until what happens is kept: an episode that nobody stores is robot time thrown away."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from whetstone_cli.cli import screen
from whetstone_cli.cli.client import Client
from whetstone_cli.cli.errors import UserError

# Time for somebody to make room.
WAIT_S = 60.0
# A file that is being closed is no news.
_NEWS_S = 3.0


def wait_for_storage(client: Client, nodes: Sequence[str], note: Callable[[str], None]) -> None:
    """Wait until all nodes that keep what happens are READY; what keeps them from it is shown while it lasts.

    Raises:
        UserError: They were not in time, or one of them is in error; the text says which, and why.
    """
    began_s, is_said = time.monotonic(), False

    def ready() -> bool:
        nonlocal is_said
        if failure := client.failed(nodes):
            raise UserError(failure)
        problem = client.not_ready(nodes)
        if problem:
            note(f"waiting: {problem}")
        if problem and not is_said and time.monotonic() - began_s > _NEWS_S:
            is_said = True
            screen.console.print(f"waiting up to {WAIT_S:g} s: {problem}", style="yellow", markup=False)
        return not problem

    if not client.spin_until(ready, WAIT_S):
        raise UserError(f"nothing more is kept: {client.not_ready(nodes)}")
