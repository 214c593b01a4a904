# SPDX-License-Identifier: Apache-2.0
"""From parameters to a backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vla_policy.core.backends import load_backend
from vla_policy.core.backends.fake import FakeBackend
from vla_policy.core.protocol import Backend
from whetstone_common.nodes.resources import find

_FAKE = "fake_"
_SCRIPT = ("pattern", "value", "prefix_delay_s", "denoise_delay_s", "fault", "fault_after", "max_words")

Read = Callable[[str], Any]


def build_backend(
    param: Read, on_step: Callable[[str], None] = lambda _step: None, joint_names: tuple[str, ...] = ()
) -> Backend:
    """Load the backend that the parameters name.

    Args:
        param: Reads a parameter.
        on_step: Told what is done now, in words.
        joint_names: The robot's joints, the gripper last, for a published checkpoint's mapping.
    """
    kind = param("backend")
    on_step("loading model")
    if kind == "fake":
        shape = {"image_size_px": param("fake_image_size_px"), "cameras": tuple(param("fake_cameras"))}
        return load_backend("fake", **shape, **_script(param))
    options: dict[str, Any] = {"num_threads": param("torch_threads")}
    if kind != "onnx":
        # ONNX Runtime finds its device by its providers, and its number format is in the graph.
        options |= {"dtype": param("dtype"), "device": param("device")}
    if param("num_steps") > 0:
        options["num_steps"] = param("num_steps")
    if param("guidance") >= 0.0:
        options["guidance"] = param("guidance")
    if kind == "pi0":
        options |= {"mapping": param("model_mapping"), "joint_names": joint_names}
    directory = find(param("model_dir"))
    if kind == "onnx":
        directory = _exported(directory, on_step)
    return load_backend(kind, str(directory), **options)


def _exported(directory: Path, on_step: Callable[[str], None]) -> Path:
    from vla_policy.core.backends.onnx_cache import exported

    graphs = exported(directory, on_export=lambda: on_step("exporting to ONNX"))
    on_step("loading model")
    return graphs


def retell(backend: Backend, param: Read) -> None:
    """Give a fake backend its new script; others have none."""
    if isinstance(backend, FakeBackend):
        backend.told(**_script(param))


def _script(param: Read) -> dict[str, Any]:
    return {name: param(_FAKE + name) for name in _SCRIPT}
