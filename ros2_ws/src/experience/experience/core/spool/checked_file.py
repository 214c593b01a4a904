# SPDX-License-Identifier: Apache-2.0
"""A small state on the disk, twice and with a checksum, so that a damaged file costs nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experience.core.spool.fileops import FileOps, write_whole

_SUM = "sha256"


def write_checked(files: FileOps, path: Path, body: Mapping[str, Any]) -> None:
    """Write a state to its file, and then to a second one beside it.

    Raises:
        OSError: The disk refuses.
    """
    data = json.dumps({**body, _SUM: _sum_of(body)}, indent=1).encode()
    write_whole(files, path, data)
    write_whole(files, _second(path), data)


def read_checked(path: Path) -> tuple[dict[str, Any] | None, dict[Path, str]]:
    """The state that was written, None when there is none that is whole; and what is wrong with each damaged file.

    Args:
        path: The first of the two files.
    """
    damaged: dict[Path, str] = {}
    for each in (path, _second(path)):
        try:
            return _checked(each), damaged
        except FileNotFoundError:
            continue
        except ValueError as error:
            damaged[each] = str(error)
    return None, damaged


def put_aside(files: FileOps, path: Path) -> Path:
    """Give a damaged file another name; returns it.

    Raises:
        OSError: The disk refuses.
    """
    number = sum(1 for _ in path.parent.glob(f"{path.name}.damaged-*"))
    aside = path.with_name(f"{path.name}.damaged-{number + 1}")
    files.replace(path, aside)
    return aside


def _checked(path: Path) -> dict[str, Any]:
    body: Any = json.loads(path.read_bytes().decode("utf-8"))
    if not isinstance(body, dict) or "version" not in body:
        raise ValueError("it has no version")
    # Files of older versions have no checksum.
    given = body.pop(_SUM, None)
    if given is not None and given != _sum_of(body):
        raise ValueError("its checksum does not fit")
    return body


def _sum_of(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _second(path: Path) -> Path:
    return path.with_name(f"{path.stem}.second{path.suffix}")
