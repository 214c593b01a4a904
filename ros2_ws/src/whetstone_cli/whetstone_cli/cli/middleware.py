# SPDX-License-Identifier: Apache-2.0
"""A middleware that is named in the environment and not installed: rclpy would end the process while it is imported."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from ament_index_python.resources import get_resources

_NAME, _ASIDE = "RMW_IMPLEMENTATION", "WHETSTONE_UNKNOWN_RMW"


def installed() -> list[str]:
    """Names of the middlewares that are installed."""
    return sorted(set(get_resources("rmw_typesupport")) - {"rmw_implementation"})


def set_aside_unknown(environment: MutableMapping[str, str]) -> None:
    """Let this process be imported with the default middleware; `unknown` still knows what was named."""
    name = environment.get(_NAME)
    if name and installed() and name not in installed():
        environment[_ASIDE] = environment.pop(_NAME)


def unknown() -> str:
    """One sentence about a middleware that is named and not installed; empty when all is well."""
    name = os.environ.get(_ASIDE) or os.environ.get(_NAME, "")
    if not name or not installed() or name in installed():
        return ""
    return f"{_NAME} = {name!r} is not installed; there is {', '.join(installed())}: unset it, or install the package"
