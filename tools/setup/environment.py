# SPDX-License-Identifier: Apache-2.0
"""The virtual environment: what goes into it, and when it is already right."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from typing import TYPE_CHECKING

from mend import mend_tree, write_hooks
from shell import SetupError, clean_env, digest, is_stamped, run, say, write_stamp

if TYPE_CHECKING:
    from pathlib import Path

TORCH = "2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_TIMEOUT_S = 5.0


class Environment:
    """One `.venv` and the lock files that say what belongs into it."""

    def __init__(self, root: Path, ros_distro: str | None) -> None:
        """Bind to the checkout at `root`; `ros_distro` is None when ROS comes from wheels."""
        self.root = root
        self.prefix = root / ".venv"
        self.python = self.prefix / "bin" / "python"
        self.ros_distro = ros_distro
        self._stamps = self.prefix / "whetstone"

    def create(self, base_python: str) -> None:
        """Make the environment when it is missing."""
        if self.python.exists():
            return
        say(f"making .venv with {base_python}")
        site = ["--system-site-packages"] if self.ros_distro else []
        if not run([base_python, "-m", "venv", *site, self.prefix]):
            message = "python -m venv failed; remove .venv and try again"
            raise SetupError(message)

    def _pip(self, *args: str, quiet: bool = False) -> bool:
        # only what is imported gets compiled, when it is: compiling everything takes longer than installing it
        argv = [self.python, "-m", "pip", "--disable-pip-version-check", "install", "--no-compile", *args]
        return run(argv, cwd=self.root, env={"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}, quiet=quiet)

    def install_lock(self, name: str) -> None:
        """Install requirements/`name`.lock, every file checked against its hash; skipped when already done."""
        lock = self.root / "requirements" / f"{name}.lock"
        value, stamp = digest([lock]), self._stamps / f"{name}.stamp"
        if is_stamped(stamp, value):
            return
        count = sum(1 for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line)
        say(f"installing {count} pinned packages of requirements/{name}.lock")
        if not self._pip("--require-hashes", "--no-deps", "--progress-bar", "off", "-q", "-r", str(lock)):
            message = f"pip could not install requirements/{name}.lock (see above)"
            raise SetupError(message)
        write_stamp(stamp, value)

    def install_torch(self) -> None:
        """Install torch: the CPU build where there is no NVIDIA GPU, as it is gigabytes smaller."""
        probe = [self.python, "-c", "import importlib.metadata as m; print(m.version('torch'))"]
        env = clean_env({"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"})
        found = subprocess.run(probe, capture_output=True, text=True, check=False, env=env)
        if found.returncode == 0 and found.stdout.strip().split("+")[0] == TORCH:
            return
        say(f"installing torch {TORCH}")
        if shutil.which("nvidia-smi") is None:
            cpu = f"torch=={TORCH}+cpu"
            say("  no NVIDIA GPU here: looking for the CPU build")
            if self._pip("--no-index", "--no-deps", "-q", cpu, quiet=True):
                return
            if _reachable(TORCH_CPU_INDEX) and self._pip("--no-deps", "-q", "--index-url", TORCH_CPU_INDEX, cpu):
                return
            say("  no CPU build within reach: taking the registry's default build (large)")
        if not self._pip(f"torch=={TORCH}"):
            message = f"torch {TORCH} could not be installed (see above)"
            raise SetupError(message)

    def mend_wheels(self) -> None:
        """Rewrite the include paths that the ROS wheels carry from the machine that built them."""
        ask = "import sysconfig, numpy; print(sysconfig.get_paths()['include']); print(numpy.get_include())"
        env = clean_env({"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"})
        answer = subprocess.run([self.python, "-c", ask], capture_output=True, text=True, check=True, env=env)
        python_include, numpy_include = answer.stdout.split("\n")[:2]
        changed = mend_tree(self.prefix, python_include, numpy_include)
        if changed:
            say(f"mended the include paths in {changed} CMake files of the ROS wheels")
        write_hooks(self.prefix)


def _reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/", timeout=PROBE_TIMEOUT_S):
            return True
    except OSError:
        return False
