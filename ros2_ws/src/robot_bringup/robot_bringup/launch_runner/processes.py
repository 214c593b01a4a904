# SPDX-License-Identifier: Apache-2.0
"""Runs processes together: their lines with their names, respawn, and an end that leaves none behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from robot_bringup.launch_runner.output import LogFile, Screen
from robot_bringup.launch_runner.plan import Process
from whetstone_common.core.child_process import die_with_parent

# A process that ended may have left children that hold its pipes open: how long to read on.
_DRAIN_S = 0.5
# Exit code of a node that has refused its parameters: started again, it would refuse them again.
_REFUSED = 2
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Ending:
    """How a process ended while nobody had asked it to.

    Attributes:
        name: Of the process.
        code: Exit code, negative for a signal, None when it could not be started.
        last_words: Its last line, empty when it said nothing or was killed: then nothing of what it said is the reason.
    """

    name: str
    code: int | None
    last_words: str = ""

    def __str__(self) -> str:
        """One sentence."""
        how = "could not be started" if self.code is None else _verdict(self.code)
        return f"{self.name} {how}{': ' if self.last_words else ''}{self.last_words}"


def _verdict(code: int) -> str:
    if code >= 0:
        return f"has died, exit code {code}"
    return f"has died, exit code {code} ({signal.Signals(-code).name})"


class Launch:
    """All processes of one launch; `run` returns when the last has ended."""

    def __init__(self, processes: Sequence[Process], log_dir: Path, screen: Screen) -> None:
        """Prepare to run `processes`; those with output log or both write to `log_dir`, the others to `screen`."""
        self._processes = processes
        self._log_dir = log_dir
        self._screen = screen
        self._stop = asyncio.Event()
        self._endings: list[Ending] = []

    async def run(self) -> int:
        """Start everything; on SIGINT, SIGTERM or SIGHUP end everything. Further signals change nothing.

        Returns:
            0 when every process ended well or because it was asked to, else 1; the reason is the last line.
        """
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt, number)
        await asyncio.gather(*(self._keep(process) for process in self._processes))
        # Nothing is left to be ended; a signal that comes late must not spoil the exit code.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        for ending in self._endings:
            self._screen.say("launch", str(ending))
        return 1 if self._endings else 0

    def _interrupt(self, number: int) -> None:
        again = "already ending, please wait" if self._stop.is_set() else "ending all processes"
        self._stop.set()
        self._screen.say("launch", f"{signal.Signals(number).name}: {again}")

    async def _keep(self, process: Process) -> None:
        """Run one process, again and again if it respawns, until it or everything ends."""
        ending, ends_all = None, process.ends_all and not process.respawn
        try:
            while not self._stop.is_set():
                ending = await self._run_once(process)
                ends_all = ends_all or (ending is not None and ending.code == _REFUSED and process.respawn)
                if ends_all or not process.respawn:
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), process.respawn_delay_s)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong here must end the others too
            ending = Ending(process.name, None, str(error))
            self._stop.set()
        if ends_all and not self._stop.is_set():
            self._stop.set()
            self._screen.say(process.name, "has ended, so everything ends")
        if ending is not None:
            self._endings.append(ending)

    async def _run_once(self, process: Process) -> Ending | None:
        """Run one process to its end; returns how it ended, unless well or because it was asked to."""
        try:
            child = _start(process)
        except OSError as error:
            self._screen.say(process.name, f"could not be started: {error}")
            return Ending(process.name, None, str(error))
        try:
            return await self._attend(process, child)
        finally:
            if child.returncode is None:
                _signal_group(child.pid, signal.SIGKILL)

    async def _attend(self, process: Process, child: subprocess.Popen[bytes]) -> Ending | None:
        ended, stop = asyncio.ensure_future(_exit(child)), asyncio.ensure_future(self._stop.wait())
        self._screen.say(process.name, f"process started with pid [{child.pid}]")
        words: list[str] = []
        readers = asyncio.gather(
            self._relay(process, child.stdout, [], show=process.output != "log"),
            self._relay(process, child.stderr, words, show=True),
        )
        await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        by_itself = ended.done() and not self._stop.is_set()
        await self._end(process, child.pid, ended)
        await asyncio.wait({readers}, timeout=_DRAIN_S)
        readers.cancel()
        fine = child.returncode == 0 or (not by_itself and child.returncode == -signal.SIGINT)
        verdict = "has finished cleanly" if fine else _verdict(child.returncode)
        self._screen.say(process.name, f"process {verdict} [pid {child.pid}]")
        last_words = "" if child.returncode == -signal.SIGKILL else "".join(words)
        return Ending(process.name, child.returncode, last_words) if by_itself and not fine else None

    async def _end(self, process: Process, pid: int, ended: asyncio.Future[int]) -> None:
        """Ask, insist, kill; each with its patience. What the process started goes with it."""
        patience_s = {
            signal.SIGINT: process.sigterm_timeout_s, signal.SIGTERM: process.sigkill_timeout_s, signal.SIGKILL: None,
        }  # fmt: skip
        for number, timeout_s in patience_s.items():
            if ended.done():
                break
            _signal_group(pid, number)
            self._screen.say(process.name, f"sending {number.name}")
            await asyncio.wait({ended}, timeout=timeout_s)
        _signal_group(pid, signal.SIGKILL)

    async def _relay(self, process: Process, pipe: IO[bytes] | None, words: list[str], *, show: bool) -> None:
        """Pass the lines of a pipe on; the last one that says anything stays in `words`."""
        stream = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
        log = LogFile(self._log_dir / f"{process.name}.log", self._screen) if process.output != "screen" else None
        try:
            while line := await _line(stream):
                if log is not None:
                    log.write(line)
                text = line.decode(errors="replace").rstrip("\n")
                if text.strip():
                    words[:] = [text.strip()]
                if show:
                    self._screen.say(process.name, text)
        finally:
            if log is not None:
                log.close()


def _start(process: Process) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        process.argv,
        env={"PYTHONUNBUFFERED": "1", **process.environment},
        cwd=process.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Ctrl-C in the terminal must reach us alone: we pass it on, in order
        start_new_session=True,
        preexec_fn=die_with_parent(),
    )


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
