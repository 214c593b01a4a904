# SPDX-License-Identifier: Apache-2.0
"""From parameters to a backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vla_policy.core.backends import load_backend
from vla_policy.core.backends.fake import FakeBackend
from vla_policy.core.protocol import Backend
from vla_policy.nodes.resources import find

_FAKE = "fake_"
_SCRIPT = ("pattern", "value", "prefix_delay_s", "denoise_delay_s", "fault", "fault_after", "max_words")

Read = Callable[[str], Any]


def build_backend(param: Read) -> Backend:
    """Load the backend that the parameters name."""
    kind = param("backend")
    if kind == "fake":
        shape = {"image_size_px": param("fake_image_size_px"), "cameras": tuple(param("fake_cameras"))}
        return load_backend("fake", **shape, **_script(param))
    options: dict[str, Any] = {"num_threads": param("torch_threads")}
    if kind != "onnx":
        # ONNX Runtime finds its device by its providers, and its number format is in the graph.
        options |= {"dtype": param("dtype"), "device": param("device")}
    if param("num_steps") > 0:
        options["num_steps"] = param("num_steps")
    return load_backend(kind, str(find(param("model_dir"))), **options)


def retell(backend: Backend, param: Read) -> None:
    """Give a fake backend its new script; others have none."""
    if isinstance(backend, FakeBackend):
        backend.told(**_script(param))


def _script(param: Read) -> dict[str, Any]:
    return {name: param(_FAKE + name) for name in _SCRIPT}
