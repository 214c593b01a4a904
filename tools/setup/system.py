# SPDX-License-Identifier: Apache-2.0
"""What the operating system has to bring: an interpreter, its headers, and OpenGL without a display."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from shell import SetupError, run, say

# transformers and the simulator's assets need 3.11; the ROS wheels end at 3.12.
PYTHON_VERSIONS = ((3, 11), (3, 12))
# dlopen name, package that brings it
EGL = ("libEGL.so.1", "libegl1")
GL = ("libGL.so.1", "libgl1")
OSMESA = ("libOSMesa.so", "libosmesa6")
# Debian's name; on Ubuntu the package of this name is a pointer to a snap, which is of no use in a container.
BROWSER = "chromium"
ROS_DISTROS = ("jazzy", "kilted", "lyrical")


def sourced_ros() -> str | None:
    """Return the name of the sourced ROS distribution, None when there is none.

    Raises:
        SetupError: a distribution is sourced that we do not support.
    """
    distro = os.environ.get("ROS_DISTRO")
    if not distro:
        return None
    if distro not in ROS_DISTROS:
        message = f"ROS {distro!r} is sourced; Whetstone runs on {', '.join(ROS_DISTROS)}, or on none (wheels)."
        raise SetupError(message)
    return distro


def find_python() -> str:
    """Return an interpreter of a version that every dependency has wheels for.

    Raises:
        SetupError: there is none.
    """
    if sys.version_info[:2] in PYTHON_VERSIONS:
        return sys.executable
    for major, minor in reversed(PYTHON_VERSIONS):
        found = shutil.which(f"python{major}.{minor}")
        if found and _answers(found):
            return found
    message = (
        "Python 3.11 or 3.12 is needed and was not found. On Debian 12: apt-get install python3 python3-venv "
        "python3-dev. On Ubuntu 24.04 the same line; on older ones install python3.11 first."
    )
    raise SetupError(message)


def _answers(python: str) -> bool:
    """Say whether this is a working interpreter and not a version manager's empty shim."""
    probe = [python, "-c", "import sys"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def has_library(name: str) -> bool:
    """Say whether the dynamic loader finds `name`."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def missing_packages(python: str) -> list[str]:
    """Return the apt packages that this machine lacks for building and for drawing without a display."""
    missing = [package for library, package in (EGL, GL) if not has_library(library)]
    if not _has_headers(python):
        missing.append("python3-dev")
    if not _has_venv(python):
        missing.append("python3-venv")
    if shutil.which("c++") is None and shutil.which("g++") is None:
        missing.append("g++")
    if shutil.which("make") is None and shutil.which("ninja") is None:
        missing.append("make")
    return missing


def _has_headers(python: str) -> bool:
    if python == sys.executable:
        include = sysconfig.get_paths()["include"]
    else:
        probe = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['include'])"]
        include = subprocess.run(probe, capture_output=True, text=True, check=True).stdout.strip()
    return (Path(include) / "Python.h").is_file()


def _has_venv(python: str) -> bool:
    probe = [python, "-c", "import ensurepip, venv"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def install_system_packages(python: str) -> None:
    """Install what is missing when root, else print the exact line.

    Raises:
        SetupError: something needed is missing and we may not, or could not, install it.
    """
    missing = missing_packages(python)
    if not missing:
        return
    line = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        message = (
            f"system packages are missing. Please run this line, then the same command again:\n  sudo sh -c '{line}'"
        )
        raise SetupError(message)
    say(f"installing system packages: {' '.join(missing)}")
    quiet_apt = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-q"], env=quiet_apt, quiet=True)
    if run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing], env=quiet_apt, quiet=True):
        return
    drawing = {EGL[1], GL[1]}
    if set(missing) <= drawing and run(["apt-get", "install", "-y", "-q", OSMESA[1]], env=quiet_apt, quiet=True):
        say("no EGL here: OSMesa is installed instead, slower and without a GPU")
        return
    message = f"apt could not install {' '.join(missing)}; the line was: {line}"
    raise SetupError(message)


def install_browser() -> None:
    """Install the browser of the console's tests when we may; without it those tests are skipped, and say so."""
    if shutil.which(BROWSER) is not None:
        return
    line = f"apt-get install -y --no-install-recommends {BROWSER}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say(f"no {BROWSER}: the tests of the operator console are skipped. To run them: sudo {line}")
        return
    say(f"installing {BROWSER} for the tests of the operator console")
    quiet_apt = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-q"], env=quiet_apt, quiet=True)
    if not run(line.split(), env=quiet_apt, quiet=True):
        say(f"apt could not install {BROWSER}: the tests of the operator console are skipped")
