# SPDX-License-Identifier: Apache-2.0
"""One test, one world: own domain, home, logs and process groups, and nothing left afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_prefix

from harness.canary import Canary
from harness.domains import DomainLock, ports_of
from harness.oracle import Verdict, judge_clean
from harness.proc import Proc, carriers
from harness.record import write_row
from harness.sweep import segments, sweep
from harness.watcher import Watcher

TESTS = Path(__file__).resolve().parents[1]
_PATIENCE_S = 9.0  # two stacks on a loaded machine; what takes longer than `judge_clean` allows is a fault


class World:
    """Starts nodes and fakes, listens to them, and buries all of them."""

    def __init__(self, folder: Path) -> None:
        """Take a domain and prepare the folders.

        Args:
            folder: Empty folder of this test alone.
        """
        self.folder = folder
        for name in ("home", "log", "tmp"):
            (folder / name).mkdir(parents=True)
        self._segments = segments()
        self._lock = DomainLock()
        self.domain_id = self._lock.domain_id
        self.procs: list[Proc] = []
        self.watcher = Watcher(self.domain_id)
        self.canary = Canary()
        self.env = {
            **os.environ,
            "ROS_DOMAIN_ID": str(self.domain_id),
            "HOME": str(folder / "home"),
            "ROS_HOME": str(folder / "home"),
            "ROS_LOG_DIR": str(folder / "log"),
            "TMPDIR": str(folder / "tmp"),
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
        }

    # ---- processes -------------------------------------------------------------------------------------------------

    def node(
        self,
        package: str,
        executable: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        remap: Mapping[str, str] | None = None,
        mutation: str = "",
        env: Mapping[str, str] | None = None,
        name: str = "",
    ) -> Proc:
        """Start a node of ours.

        Args:
            package: Package name.
            executable: Entry point of the package.
            parameters: Overrides.
            remap: Topic from to.
            mutation: Protection that is removed before the node starts (see harness.mutants), empty for none.
            env: Extra environment.
            name: Name of the process, when one executable is started twice.
        """
        if mutation:
            command = [sys.executable, "-m", "harness.mutants", mutation, f"{package}.nodes.{executable}"]
        else:
            command = [str(Path(get_package_prefix(package)) / "lib" / package / executable)]
        return self._start(name or executable, command, executable, parameters or {}, remap or {}, env or {})

    def fake(
        self,
        module: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        name: str = "",
        remap: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Proc:
        """Start a fake of tests/fakes, or the fault relay; `name` renames the node, `env` is extra environment."""
        package = "harness" if module == "fault_relay" else "fakes"
        command = [sys.executable, "-m", f"{package}.{module}"]
        remaps = dict(remap or {}) | ({"__node": name} if name else {})
        return self._start(name or module, command, name or module, parameters or {}, remaps, env or {})

    def launch(self, file: Path, *, mutation: str = "", terminal: bool = False, **arguments: str) -> Proc:
        """Start a launch file by our runner.

        Args:
            file: The launch file.
            mutation: Protection of the runner that is removed before, empty for none.
            terminal: Start it in a terminal; the process is then the terminal's.
            arguments: Of the launch file.
        """
        command = [str(Path(get_package_prefix("robot_bringup")) / "lib" / "robot_bringup" / "launch_runner")]
        if mutation:
            command = [sys.executable, "-m", "harness.mutants", mutation, "robot_bringup.launch_runner.__main__"]
        if terminal:
            command = [sys.executable, "-m", "harness.terminal", *command]
        command += [str(file), *(f"{name}:={value}" for name, value in arguments.items())]
        proc = Proc("launch", command, folder=self.folder, env=self.env)
        self.procs.append(proc)
        return proc

    def _start(
        self,
        name: str,
        command: list[str],
        node: str,
        parameters: Mapping[str, Any],
        remap: Mapping[str, str],
        env: Mapping[str, str],
    ) -> Proc:
        arguments = ["--ros-args"]
        if parameters:
            file = self.folder / f"{name}.yaml"
            file.write_text(yaml.safe_dump({f"/**/{node}": {"ros__parameters": dict(parameters)}}), encoding="utf-8")
            arguments += ["--params-file", str(file)]
        for source, target in remap.items():
            arguments += ["-r", f"{source}:={target}"]
        proc = Proc(name, [*command, *arguments], folder=self.folder, env={**self.env, **env})
        self.procs.append(proc)
        return proc

    def wait_ready(self, *nodes: str, deadline_s: float = 60.0) -> None:
        """Wait for a status that says READY (or already more) of each node; ERROR fails at once."""
        for node in nodes:
            status = self.watcher.wait_state(node, ("READY", "RUNNING", "HOLDING", "STOPPED", "ERROR"), deadline_s)
            assert status.state != "ERROR", f"{node}: {status.reason} {status.detail}"

    # ---- judging ---------------------------------------------------------------------------------------------------

    def judge(self, row: str, case: str, verdict: Verdict) -> None:
        """Keep the numbers, and fail when the judges were not content."""
        write_row(row, case, verdict.numbers, ok=verdict.ok)
        assert verdict.ok, "\n".join(verdict.problems)

    # ---- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> Verdict:
        """Kill what is left, and judge O4; the ears stay until `leave`."""
        start_s = time.monotonic()
        self.canary.close()
        for proc in self.procs:
            proc.cont()
            proc.term()
        deadline_s = time.monotonic() + _PATIENCE_S
        # a launcher that lost its terminal is nobody's process here, and ends by itself
        while (any(proc.alive for proc in self.procs) or self.survivors()) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        for proc in self.procs:
            proc.bury()
        left = self.survivors()
        verdict = judge_clean(left, self.leftovers(), time.monotonic() - start_s)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return verdict

    def leave(self) -> None:
        """Leave the domain and sweep.

        Last, when nobody joins or leaves any more: Fast DDS has been seen to hang for ever when an endpoint is deleted
        while another participant says good-bye.
        """
        self.watcher.close()
        sweep(self._segments, ports_of(self._lock.domain_id))
        self._lock.release()

    def survivors(self) -> list[int]:
        """Pids of this world that still live, also those that a launcher put into sessions of their own."""
        return carriers(f"ROS_LOG_DIR={self.folder}/")

    def leftovers(self) -> list[str]:
        """Files in the temp folder of this world that outlived their makers."""
        return [str(path) for path in (self.folder / "tmp").rglob("*") if path.is_file()]

    def tails(self) -> str:
        """Output of all processes, for the report of a failure."""
        return "\n".join(f"--- {proc.name} (exit {proc.exit_code})\n{proc.tail()}" for proc in self.procs)
