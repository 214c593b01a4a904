# SPDX-License-Identifier: Apache-2.0
"""What a process finds around it when it starts: services of an init system give it little."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import MutableMapping


def give_home(environment: MutableMapping[str, str]) -> None:
    """Set HOME where it is missing, to the account's folder or to one for temporary files; ROS puts its logs there."""
    if environment.get("HOME"):
        return
    try:
        home = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container's number without an account
        home = ""
    environment["HOME"] = home if home and os.access(home, os.W_OK) else tempfile.gettempdir()
