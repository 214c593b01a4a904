# SPDX-License-Identifier: Apache-2.0
"""Where networks live and learn, by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CPU, AUTO = "cpu", "auto"
_NAME = re.compile(r"cpu|auto|cuda(:\d{1,3})?")


def check_device_name(name: str) -> None:
    """Refuse what names no device; whether this machine has it is not looked at, and torch is not imported.

    Raises:
        ValueError: With the value and what is allowed.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"device is {name!r}, allowed: cpu, cuda, cuda:<number> or auto")


def device_of(name: str) -> torch.device:
    """Device of a name; `auto` is the first GPU where there is one, else the CPU.

    Raises:
        ValueError: It names none, or torch has no such device here.
    """
    import torch

    check_device_name(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == AUTO:
        return torch.device("cuda:0" if count else CPU)
    device = torch.device(name)
    if device.type == CPU:
        return device
    if not count:
        raise ValueError(f"device is {name!r}, but torch sees no GPU here: use cpu or auto")
    if (device.index or 0) >= count:
        raise ValueError(f"device is {name!r}, but torch sees {count} here: the last one is cuda:{count - 1}")
    return device
