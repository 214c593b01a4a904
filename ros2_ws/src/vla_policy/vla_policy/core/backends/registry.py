# SPDX-License-Identifier: Apache-2.0
"""Backends by name. Each is imported when asked for, so that `fake` needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vla_policy.core.protocol import Backend


def _fake(directory: str, options: Mapping[str, Any]) -> Backend:
    from vla_policy.core.backends.fake import FakeBackend

    return FakeBackend.from_options(options)


def _pocket(directory: str, options: Mapping[str, Any]) -> Backend:
    from vla_policy.core.backends.pocket import PocketBackend

    return PocketBackend.load(directory, **options)


def _pi0(directory: str, options: Mapping[str, Any]) -> Backend:
    from vla_policy.core.backends.pi0 import Pi0Backend

    return Pi0Backend.load(directory, **options)


def _onnx(directory: str, options: Mapping[str, Any]) -> Backend:
    from vla_policy.core.backends.onnx import OnnxBackend
    from vla_policy.core.backends.onnx_cache import exported

    rest = dict(options)
    graphs = exported(Path(directory), int8=rest.pop("dtype", "float32") == "int8")
    return OnnxBackend.load(str(graphs), **rest)


BACKENDS: dict[str, Callable[[str, Mapping[str, Any]], Backend]] = {
    "fake": _fake,
    "pocket": _pocket,
    "pi0": _pi0,
    "onnx": _onnx,
}

_TORCH_DTYPES = ("float32", "bfloat16")
# Number formats of those that have a choice.
DTYPES = {"pocket": _TORCH_DTYPES, "pi0": _TORCH_DTYPES, "onnx": ("float32", "int8")}


def load_backend(name: str, directory: str = "", **options: Any) -> Backend:
    """Loads a backend.

    Args:
        name: a key of `BACKENDS`.
        directory: checkpoint directory; unused by `fake`.
        options: the backend's own keyword arguments.

    Raises:
        ValueError: the name, or the number format, is unknown.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r} is unknown, known: {sorted(BACKENDS)}")
    if name == "onnx" and options.get("dtype", "float32") not in DTYPES[name]:  # the others say it themselves
        raise ValueError(f"dtype is {options['dtype']!r}, allowed: {list(DTYPES[name])}")
    return BACKENDS[name](directory, options)
