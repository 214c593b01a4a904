# SPDX-License-Identifier: Apache-2.0
"""The stack as a child process: started through the launch runner, stopped in order, never orphaned."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from ament_index_python.packages import get_package_share_directory

from robot_bringup.launch_runner import preflight
from robot_bringup.launch_runner.document import LaunchError
from robot_bringup.launch_runner.processes import STOP_SIGNALS
from whetstone_cli.cli import middleware
from whetstone_cli.cli.domain import DomainLock
from whetstone_cli.cli.errors import UserError
from whetstone_common.core.child_process import die_with_parent
from whetstone_common.nodes.transport import RANGE, udp_alone

# SIGINT lets every node hold and flush; the runner escalates by itself before this.
_GRACE_S = 20.0
_TAIL_LINES = 25


def share() -> Path:
    """Share directory of launch files, tasks and robots."""
    return Path(get_package_share_directory("robot_bringup"))


def own_environment(domain_id: int | None) -> dict[str, str]:
    """Environment of the stack and of ourselves; what the user has set stays."""
    env = dict(os.environ)
    if domain_id is not None:
        env["ROS_DOMAIN_ID"] = str(domain_id)
    env.setdefault(RANGE, "LOCALHOST")
    env |= udp_alone(env)
    env.setdefault("OMP_NUM_THREADS", "1")
    # Output of the children goes to a file; without this it comes in blocks, too late to explain a failure.
    env["PYTHONUNBUFFERED"] = "1"
    return env


def launch_command(launch_file: str, arguments: Mapping[str, str]) -> list[str]:
    """Command line that runs a launch file of ours.

    Raises:
        UserError: There is no such file, or no such middleware.
    """
    if problem := middleware.unknown():
        raise UserError(problem)
    path = share() / "launch" / launch_file
    if not path.is_file():
        raise UserError(f"no launch file {path}\n\nBuild the workspace first: make setup")
    words = [f"{name}:={value}" for name, value in arguments.items()]
    return [sys.executable, "-m", "robot_bringup.launch_runner", str(path), *words]


def end_on_stop_signals() -> None:
    """A command that is terminated, or whose terminal is closed, stops its stack in order as on Ctrl-C."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def stop_signals_ignored() -> Iterator[None]:
    """A second signal must not cut a stop short, which would leave orphans behind."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Stack:
    """Context manager around one run of a launch file in a ROS domain of its own."""

    def __init__(self, arguments: Mapping[str, str], log: Path, launch_file: str = "whetstone.launch.xml") -> None:
        """Prepare; nothing is started yet.

        Args:
            arguments: Of the launch file.
            log: File for the output of all nodes.
            launch_file: Name of the launch file.
        """
        self.log = log
        self._path, self._arguments = share() / "launch" / launch_file, arguments
        self._command = launch_command(launch_file, arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._domain: DomainLock | None = None

    def __enter__(self) -> Stack:
        """Start it, and move this process into its domain.

        Raises:
            UserError: A node would refuse what it is given; nothing is started.
        """
        try:
            preflight.check_file(self._path, self._arguments)
        except LaunchError as error:
            raise UserError(str(error)) from error
        self._domain = DomainLock()
        env = own_environment(self._domain.domain_id)
        os.environ.update(env)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as sink:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it and wait until nothing of it is left."""
        if self._process is not None:
            self._stop(self._process)
        if self._domain is not None:
            self._domain.release()

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        with stop_signals_ignored():
            try:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                pass
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def check(self) -> None:
        """Complain when the stack has ended by itself.

        Raises:
            UserError: It has; the text ends with its last words.
        """
        code = self._process.poll() if self._process is not None else None
        if code is not None:
            raise UserError(f"the stack has ended: {self._last_words()}\n\nOutput of all nodes: {self.log}")

    def _last_words(self) -> str:
        """What the runner says last: which process has died, and why."""
        lines = self.tail().splitlines()
        return lines[-1].removeprefix("[launch] ") if lines else "it said nothing"

    def tail(self) -> str:
        """Last lines of the output."""
        if not self.log.exists():
            return ""
        with self.log.open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, _TAIL_LINES))
