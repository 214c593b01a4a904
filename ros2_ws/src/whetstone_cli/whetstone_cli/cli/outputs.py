# SPDX-License-Identifier: Apache-2.0
"""Outputs of a command: tried before the work, and written each for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from whetstone_cli.cli import screen
from whetstone_cli.cli.errors import UserError
from whetstone_common.core import outputs

Write = tuple[Path | None, Callable[[Path], object]]


def check_files(*paths: Path | None) -> None:
    """Try whether files can be written; None is no file.

    Raises:
        UserError: One cannot.
    """
    _check(outputs.check_file, paths)


def check_folders(*paths: Path) -> None:
    """Try whether files can be written into folders.

    Raises:
        UserError: They cannot.
    """
    _check(outputs.check_folder, paths)


def check_new_folder(path: Path) -> None:
    """Try whether a folder can be made.

    Raises:
        UserError: It cannot, or it is there already.
    """
    _check(outputs.check_new_folder, (path,))


def _check(check: Callable[[Path], None], paths: Sequence[Path | None]) -> None:
    try:
        for path in filter(None, paths):
            check(path)
    except outputs.OutputError as error:
        raise UserError(str(error)) from error


def write_each(*writes: Write) -> None:
    """Write files one by one and say which; one that cannot be written does not keep the others from it.

    Raises:
        UserError: Naming those that could not be written.
    """
    failed = []
    for path, write in writes:
        if path is None:
            continue
        try:
            write(path)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the others are written
            failed.append(f"{path}: {getattr(error, 'strerror', None) or error}")
        else:
            screen.console.print(f"wrote {path}", soft_wrap=True)
    if failed:
        raise UserError(f"not written: {'; '.join(failed)}")
