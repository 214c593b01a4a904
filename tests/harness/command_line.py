# SPDX-License-Identifier: Apache-2.0
"""The `whetstone` command, as an operator types it in the world's domain."""

from __future__ import annotations

import subprocess
import sys

from harness.proc import Proc
from harness.world import World

_COMMAND = (sys.executable, "-m", "whetstone_cli.cli.main")
_LIMIT_S = 90.0


def whetstone(world: World, *words: str) -> tuple[int, str]:
    """Exit code and output of a command that ends by itself."""
    done = subprocess.run(
        [*_COMMAND, *words],
        capture_output=True,
        text=True,
        env=world.env,
        cwd=world.folder,
        check=False,
        timeout=_LIMIT_S,
    )
    return done.returncode, done.stdout + done.stderr


def start(world: World, *words: str) -> Proc:
    """A command that goes on in the background, named by its first word."""
    proc = Proc(words[0], [*_COMMAND, *words], folder=world.folder, env=world.env)
    world.procs.append(proc)
    return proc
