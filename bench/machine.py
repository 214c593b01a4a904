# SPDX-License-Identifier: Apache-2.0
"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_PACKAGES = ("ros-rclpy", "torch", "transformers", "onnxruntime", "mujoco", "numpy", "opencv-python-headless")


def describe() -> dict[str, str]:
    """Processor, memory, load and versions."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")), "")
    memory_kib = int(Path("/proc/meminfo").read_text(encoding="utf-8").split()[1])
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return {
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_kib / 2**20:.0f} GiB",
        "gpu": _gpu(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "middleware": os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"),
        "load before (1, 5, 15 min)": load,
        "scheduling": _scheduling(),
        **{name: _version(name) for name in _PACKAGES},
    }


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "none"
    found = torch.cuda.get_device_properties(0)
    return f"{found.name}, {found.total_memory / 2**30:.0f} GiB"


def _scheduling() -> str:
    """Ordinary, or ahead of the other load of the machine (`chrt -f 45 python bench/run.py`)."""
    policies = {os.SCHED_OTHER: "ordinary", os.SCHED_FIFO: "first in, first out", os.SCHED_RR: "round robin"}
    return policies.get(os.sched_getscheduler(0), "other")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
