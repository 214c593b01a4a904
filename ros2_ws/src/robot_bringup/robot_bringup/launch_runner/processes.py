# SPDX-License-Identifier: Apache-2.0
"""Runs processes together: their lines with their names, respawn, and an end that leaves none behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from robot_bringup.launch_runner.plan import Process

# A process that ended may have left children that hold its pipes open: how long to read on.
_DRAIN_S = 0.5


class Launch:
    """All processes of one launch; `run` returns when the last has ended."""

    def __init__(self, processes: Sequence[Process], log_dir: Path) -> None:
        """Prepare to run `processes`; those with output log or both write to `log_dir`."""
        self._processes = processes
        self._log_dir = log_dir
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Start everything; on SIGINT or SIGTERM end everything. Further signals change nothing."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt, number)
        self._log_dir.mkdir(parents=True, exist_ok=True)
        await asyncio.gather(*(self._keep(process) for process in self._processes))

    def _interrupt(self, number: int) -> None:
        again = "already ending, please wait" if self._stop.is_set() else "ending all processes"
        _print("launch", f"{signal.Signals(number).name}: {again}")
        self._stop.set()

    async def _keep(self, process: Process) -> None:
        """Run one process, again and again if it respawns, until it or everything ends."""
        while not self._stop.is_set():
            await self._run_once(process)
            if not process.respawn:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), process.respawn_delay_s)
        if process.ends_all and not self._stop.is_set():
            _print(process.name, "has ended, so everything ends")
            self._stop.set()

    async def _run_once(self, process: Process) -> None:
        try:
            child = subprocess.Popen(
                process.argv,
                env={"PYTHONUNBUFFERED": "1", **process.environment},
                cwd=process.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Ctrl-C in the terminal must reach us alone: we pass it on, in order
                start_new_session=True,
            )
        except OSError as error:
            _print(process.name, f"could not be started: {error}")
            return
        _print(process.name, f"process started with pid [{child.pid}]")
        readers = asyncio.gather(
            self._relay(process, child.stdout, show=process.output != "log"),
            self._relay(process, child.stderr, show=True),
        )
        ended, stop = asyncio.ensure_future(_exit(child)), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        await self._end(process, child.pid, ended)
        await asyncio.wait({readers}, timeout=_DRAIN_S)
        readers.cancel()
        fine = child.returncode == 0 or (self._stop.is_set() and child.returncode == -signal.SIGINT)
        verdict = "has finished cleanly" if fine else f"has died, exit code {child.returncode}"
        _print(process.name, f"process {verdict} [pid {child.pid}]")

    async def _end(self, process: Process, pid: int, ended: asyncio.Future[int]) -> None:
        """Ask, insist, kill; each with its patience. What the process started goes with it."""
        patience_s = {
            signal.SIGINT: process.sigterm_timeout_s, signal.SIGTERM: process.sigkill_timeout_s, signal.SIGKILL: None,
        }  # fmt: skip
        for number, timeout_s in patience_s.items():
            if ended.done():
                break
            _print(process.name, f"sending {number.name}")
            _signal_group(pid, number)
            await asyncio.wait({ended}, timeout=timeout_s)
        _signal_group(pid, signal.SIGKILL)

    async def _relay(self, process: Process, pipe: IO[bytes] | None, *, show: bool) -> None:
        stream = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
        with (self._log_dir / f"{process.name}.log").open("ab") as log:
            while line := await _line(stream):
                if process.output != "screen":
                    log.write(line)
                    log.flush()
                if show:
                    _print(process.name, line.decode(errors="replace").rstrip("\n"))


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # longer than the buffer
        return await stream.read(1 << 16)


async def _exit(child: subprocess.Popen[bytes]) -> int:
    """Wait for the process itself; asyncio's own would also wait for whoever still holds its pipes."""
    handle = os.pidfd_open(child.pid)
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(handle, gone.set)
    try:
        await gone.wait()
    finally:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
    return child.wait()


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _print(name: str, text: str) -> None:
    sys.stdout.write(f"[{name}] {text}\n")
    sys.stdout.flush()
