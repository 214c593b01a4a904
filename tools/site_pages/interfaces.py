# SPDX-License-Identifier: Apache-2.0
"""Messages, services and actions of vla_interfaces, with the comments of their files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from site_pages.tables import cell, code, table

PACKAGE = Path(__file__).resolve().parents[2] / "ros2_ws" / "src" / "vla_interfaces"
_KINDS = {"msg": ("Message",), "srv": ("Request", "Response"), "action": ("Goal", "Result", "Feedback")}
_TITLES = {"msg": "Messages", "srv": "Services", "action": "Actions"}
_LINE = re.compile(
    r"^(?P<type>\S+)\s+(?P<name>\w+)(?:\s*=\s*(?P<value>[^#\s]+)|\s+(?P<default>[^#=\s]+))?\s*(?:#\s*(?P<text>.*))?$"
)


@dataclass
class Part:
    """A message, or one of the halves of a service."""

    text: list[str] = field(default_factory=list)
    fields: list[tuple[str, ...]] = field(default_factory=list)
    constants: list[tuple[str, ...]] = field(default_factory=list)


def read(path: Path) -> list[Part]:
    """Parts of an interface file.

    Raises:
        ValueError: A line is neither a comment nor a field nor a constant.
    """
    parts = [Part()]
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        stripped = line.strip()
        if stripped == "---":
            parts.append(Part())
        elif stripped.startswith("#"):
            parts[-1].text.append(stripped.lstrip("# "))
        elif stripped:
            match = _LINE.match(stripped)
            if match is None:
                raise ValueError(f"{path.name}:{number}: {stripped!r} is neither a field nor a constant")
            _add(parts[-1], match)
    return parts


def _add(part: Part, match: re.Match[str]) -> None:
    text = cell(match["text"] or "")
    if match["value"] is None:
        default = f" Default: {code(match['default'])}." if match["default"] else ""
        part.fields.append((code(match["name"]), code(match["type"]), text + default))
    else:
        part.constants.append((code(match["name"]), code(match["value"]), text))


def pages() -> dict[str, str]:
    """One page per kind, by its path below docs/."""
    return {f"reference/interfaces/{_TITLES[kind].lower()}.md": _page(kind) for kind in _KINDS}


def _page(kind: str) -> str:
    lines = [f"# {_TITLES[kind]}\n", "Package `vla_interfaces`. Units are in square brackets, shapes too.\n"]
    for path in sorted((PACKAGE / kind).glob(f"*.{kind}")):
        lines.append(f"## {path.stem}\n")
        for name, part in zip(_KINDS[kind], read(path), strict=True):
            lines += ["\n".join(part.text) + "\n"] if part.text else []
            if len(_KINDS[kind]) > 1:
                lines.append(f"**{name}**{'' if part.fields else ': empty'}\n")
            lines += [
                table(("field", "type", "meaning"), part.fields),
                table(("constant", "value", ""), part.constants),
            ]
    return "\n".join(lines)
