# SPDX-License-Identifier: Apache-2.0
"""A launch file as a tree whose every element knows its line."""

from __future__ import annotations

import xml.parsers.expat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


class LaunchError(Exception):
    """A launch file that we cannot run, or an argument that it lacks; the message says where."""


@dataclass
class Element:
    """One XML element."""

    tag: str
    attributes: dict[str, str]
    path: Path
    line: int
    children: list[Element] = field(default_factory=list)

    def error(self, text: str) -> LaunchError:
        """Make an error that names this element's place."""
        return LaunchError(f"{self.path}:{self.line}: <{self.tag}> {text}")

    def named(self, tag: str) -> Iterator[Element]:
        """Iterate over the children of one kind."""
        return (child for child in self.children if child.tag == tag)


def read(path: Path) -> Element:
    """Read a launch file.

    Raises:
        LaunchError: it is missing, is not XML, or its root is not `<launch>`.
    """
    root = Element("", {}, path, 0)
    stack = [root]
    parser = xml.parsers.expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        stack.append(Element(tag, attributes, path, parser.CurrentLineNumber))
        stack[-2].children.append(stack[-1])

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: stack.pop()
    try:
        parser.Parse(path.read_bytes(), True)  # noqa: FBT003 - expat takes it by position only
    except (OSError, xml.parsers.expat.ExpatError) as error:
        raise LaunchError(f"{path}: {error}") from error
    if root.children[0].tag != "launch":
        raise root.children[0].error("stands where <launch> should")
    return root.children[0]
