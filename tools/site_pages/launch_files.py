# SPDX-License-Identifier: Apache-2.0
"""Arguments of the launch files, with the descriptions that the files give."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from site_pages.tables import cell, code, table

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
_PACKAGE_SHARE = re.compile(r"\$\(find-pkg-share (\w+)\)")


def pages() -> dict[str, str]:
    """The page, by its path below docs/."""
    lines = [
        "# Launch arguments\n",
        "`whetstone up NAME:=VALUE` and `ros2 launch launch/FILE NAME:=VALUE` take them.\n",
    ]
    for path in sorted(LAUNCH.glob("*.launch.xml"), reverse=True):
        # files of this repository
        root = ElementTree.parse(path).getroot()
        rows = [_row(argument) for argument in root.findall("arg")]
        lines += [f"## {path.name}\n", table(("argument", "default", "choices", "meaning"), rows)]
    return {"reference/launch-arguments.md": "\n".join(lines)}


def _row(argument: ElementTree.Element) -> tuple[str, ...]:
    default = _PACKAGE_SHARE.sub(r"<share of \1>", argument.get("default", ""))
    choices = ", ".join(code(choice.get("value")) for choice in argument.findall("choice"))
    return code(argument.get("name")), code(default), choices, cell(argument.get("description", ""))
