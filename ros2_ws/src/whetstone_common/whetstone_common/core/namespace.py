# SPDX-License-Identifier: Apache-2.0
"""ROS namespaces as people write them, and as the graph has them."""

from __future__ import annotations

import re

_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class NamespaceError(ValueError):
    """No namespace that ROS takes."""


def absolute_namespace(text: str) -> str:
    """A namespace as names begin with it: `/left` of `left` or `/left/`, empty of the empty one and of `/`.

    Raises:
        NamespaceError: A part of it is empty, or has other than letters, digits and underscores.
    """
    parts = text.strip("/").split("/") if text.strip("/") else []
    for part in parts:
        if not _PART.fullmatch(part) or "__" in part:
            raise NamespaceError(
                f"namespace {text!r}: {part!r} is not allowed: letters, digits, single underscores are, no digit first"
            )
    return "".join(f"/{part}" for part in parts)


def with_namespace(name: str, namespace: str) -> str:
    """Absolute name of one that a node in the namespace uses; private, absolute and empty ones stay as they are."""
    return f"{absolute_namespace(namespace)}/{name}" if name and name[0] not in "/~" else name


def without_namespace(name: str, namespace: str) -> str:
    """An absolute name as it is where there is no namespace: `/executed` of `/left/executed` in `/left`."""
    prefix = absolute_namespace(namespace)
    return name.removeprefix(prefix) if prefix and name.startswith(f"{prefix}/") else name
