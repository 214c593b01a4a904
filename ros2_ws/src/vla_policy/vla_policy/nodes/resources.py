# SPDX-License-Identifier: Apache-2.0
"""Where files named in parameters are."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from vla_policy.core.robot_view import RobotFileError, RobotView, load_robot_view
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


def find_robot(name: str) -> RobotView:
    """The robot of a file: a stem in robot_bringup's config/robots, or a path.

    Raises:
        ReasonedError: The file cannot be used.
    """
    is_stem = "/" not in name and not name.endswith(".yaml")
    path = find(f"{_PACKAGE}robot_bringup/config/robots/{name}.yaml" if is_stem else name)
    try:
        return load_robot_view(path, find(f"{_PACKAGE}robot_bringup/description"))
    except RobotFileError as error:
        raise ReasonedError(Reason.BAD_PARAMETER, f"robot_file = {name!r}: {error}") from error
