# SPDX-License-Identifier: Apache-2.0
"""Make the ROS wheels behave like a ROS prefix: one defect to mend, one file to add.

Their exported CMake targets carry include directories of the machine that built the wheels
(`/opt/python/cp3XX-cp3XX/...`): Python's own and numpy's. Both are rewritten to this interpreter's.
They also bring no `local_setup.*`, so a workspace built on them would not chain them in; ours does.
Running either twice changes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BUILDER = r"/opt/python/cp\d+-cp\d+[a-z]*"
NUMPY_INCLUDE = re.compile(BUILDER + r"/lib/python3\.\d+/site-packages/numpy/_?core/include")
PYTHON_INCLUDE = re.compile(BUILDER + r"/include/python3\.\d+")


def mend_text(text: str, python_include: str, numpy_include: str) -> str:
    """Return `text` with the builder's two include directories replaced by ours."""
    text = NUMPY_INCLUDE.sub(lambda _: numpy_include, text)
    return PYTHON_INCLUDE.sub(lambda _: python_include, text)


def mend_tree(prefix: Path, python_include: str, numpy_include: str) -> int:
    """Rewrite every exported CMake file below `prefix`/share that needs it.

    Args:
        prefix: root of the virtual environment that holds the wheels.
        python_include: directory of this interpreter's Python.h.
        numpy_include: what `numpy.get_include()` says.

    Returns:
        How many files changed.
    """
    changed = 0
    for path in sorted(prefix.glob("share/*/cmake/*.cmake")):
        before = path.read_text(encoding="utf-8", errors="surrogateescape")
        after = mend_text(before, python_include, numpy_include)
        if after != before:
            path.write_text(after, encoding="utf-8", errors="surrogateescape")
            changed += 1
    return changed


HOOK = """# SPDX-License-Identifier: Apache-2.0
# Made by tools/setup: what `source ros2_ws/install/setup.bash` needs to know of the ROS wheels in this environment.
_wst_prefix="{prefix}"
_wst_libs="{libraries}"
case ":${{AMENT_PREFIX_PATH:-}}:" in
  *":${{_wst_prefix}}:"*) ;;
  *) AMENT_PREFIX_PATH="${{_wst_prefix}}${{AMENT_PREFIX_PATH:+:${{AMENT_PREFIX_PATH}}}}" ;;
esac
case ":${{LD_LIBRARY_PATH:-}}:" in
  *":${{_wst_prefix}}/lib:"*) ;;
  *) LD_LIBRARY_PATH="${{_wst_libs}}${{LD_LIBRARY_PATH:+:${{LD_LIBRARY_PATH}}}}" ;;
esac
# The wheels restart python to set LD_LIBRARY_PATH; with it set here no process starts twice.
_ROS_WHEELS_BOOTSTRAP_COMPLETE=1
export AMENT_PREFIX_PATH LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
unset _wst_prefix _wst_libs
"""


def library_dirs(prefix: Path) -> list[Path]:
    """Return where the shared libraries of the wheels below `prefix` are."""
    return [prefix / "lib", *sorted(prefix.glob("lib/python3.*/site-packages/ros_*.libs"))]


def write_hooks(prefix: Path) -> None:
    """Write `local_setup.{sh,bash,zsh}` at the root of the environment `prefix`."""
    text = HOOK.format(prefix=prefix, libraries=":".join(map(str, library_dirs(prefix))))
    for suffix in ("sh", "bash", "zsh"):
        (prefix / f"local_setup.{suffix}").write_text(text, encoding="utf-8")
