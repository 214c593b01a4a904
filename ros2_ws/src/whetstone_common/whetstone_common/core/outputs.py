# SPDX-License-Identifier: Apache-2.0
"""Outputs of commands: tried before the work, and there as a whole or not at all.

What is written on the way has a name of its own beside the target, so that nothing that lies there is touched.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PROBE = b"probe\n"


class OutputError(ValueError):
    """A place where nothing can be written; the text says which, why, and what to do."""


def check_file(path: Path) -> None:
    """Try whether a file can be written; nothing is left behind, and a file that is there stays as it is.

    Raises:
        OutputError: It cannot.
    """
    target = path.expanduser().resolve()
    if target.is_dir():
        raise OutputError(f"cannot write the file {path}: it is a folder; name a file")
    if target.exists() and not target.is_file():
        return  # a terminal or a pipe takes what comes
    _try(path, target)


def check_new_folder(path: Path) -> None:
    """Try whether a folder can be made; nothing is left behind.

    Raises:
        OutputError: It cannot, or it is there already.
    """
    if os.path.lexists(path.expanduser()):
        raise OutputError(f"{path} exists already: choose another folder, or remove it")
    _try(path, path.expanduser().resolve())


def check_folder(path: Path) -> None:
    """Try whether files can be written into a folder, which may be there or not; nothing is left behind.

    Raises:
        OutputError: They cannot.
    """
    _try(path, path.expanduser().resolve() / "probe")


def _try(path: Path, target: Path) -> None:
    in_the_way = next((place for place in target.parents if os.path.lexists(place) and not place.is_dir()), None)
    if in_the_way is not None:
        raise OutputError(f"cannot write {path}: {in_the_way} is no folder; choose another place")
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        probe = _beside(target)
        try:
            with probe.open("xb") as file:
                file.write(_PROBE)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    finally:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write a file; it takes its name when the block ends without an error, and is gone otherwise.

    Raises:
        OSError: It cannot be written.
    """
    target = path.expanduser().resolve()
    if target.exists() and not target.is_file():
        yield target  # a terminal or a pipe is written to, never replaced
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(target)
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Where to fill a folder; it takes its name when the block ends without an error, and is gone otherwise.

    Raises:
        FileExistsError: There is something of that name.
        OSError: It cannot be written.
    """
    target = path.expanduser().resolve()
    if os.path.lexists(target):
        raise FileExistsError(f"{path} exists already: choose another folder, or remove it")
    partial = _beside(target)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _beside(target: Path) -> Path:
    """A name that nobody has, with the same ending, which some writers go by."""
    return target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
