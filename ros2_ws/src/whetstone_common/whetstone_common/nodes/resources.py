# SPDX-License-Identifier: Apache-2.0
"""Where files named in parameters and on the command line are."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from whetstone_common.core.reason import Reason, ReasonedError

_PACKAGE = "package://"


def find(name: str) -> Path:
    """Path of `package://<package>/<path below its share>`, or of a plain path.

    Raises:
        ReasonedError: There is no such package.
    """
    if not name.startswith(_PACKAGE):
        return Path(name).expanduser()
    package, _, rest = name.removeprefix(_PACKAGE).partition("/")
    try:
        return Path(get_package_share_directory(package)) / rest
    except (PackageNotFoundError, ValueError) as error:
        raise ReasonedError(Reason.BAD_PARAMETER, f"{name}: package {package!r} is not installed") from error
