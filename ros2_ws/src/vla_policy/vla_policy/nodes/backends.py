# SPDX-License-Identifier: Apache-2.0
"""From parameters to a backend."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vla_policy.core.backends import load_backend
from vla_policy.core.backends.fake import FakeBackend
from vla_policy.core.backends.registry import DTYPES
from vla_policy.core.protocol import Backend, ServerBackend
from vla_policy.core.remote.address import AddressError, api_key, checked_address
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason
from whetstone_common.nodes.resources import find

_FAKE = "fake_"
NO_DIRECTORY = ("fake", "remote")  # backends whose weights are nowhere on this machine
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
    if kind == "remote":
        return _remote(param, on_step, joint_names)
    on_step("loading model")
    if kind == "fake":
        shape = {"image_size_px": param("fake_image_size_px"), "cameras": tuple(param("fake_cameras"))}
        return load_backend("fake", **shape, **_script(param))
    options: dict[str, Any] = {"num_threads": param("torch_threads")}
    if kind != "onnx":
        # ONNX Runtime finds its device by its providers, and has a graph of its own for each number format.
        options |= {"dtype": param("dtype"), "device": param("device")}
    if param("num_steps") > 0:
        options["num_steps"] = param("num_steps")
    if param("guidance") >= 0.0:
        options["guidance"] = param("guidance")
    if kind == "pi0":
        options |= {"mapping": param("model_mapping"), "joint_names": joint_names}
    directory = find(param("model_dir"))
    if kind == "onnx":
        directory = _exported(directory, on_step, int8=param("dtype") == "int8")
    return load_backend(kind, str(directory), **options)


def check_dtype(values: Mapping[str, Any]) -> None:
    """Refuse a number format that the backend does not have.

    Args:
        values: Parameters by name.

    Raises:
        ParameterError: The text names both.
    """
    known = DTYPES.get(values["backend"])
    if known is not None and values["dtype"] not in known:
        raise ParameterError(
            f"dtype = {values['dtype']!r} with backend = {values['backend']!r}: it has {' and '.join(known)}"
        )


def check_remote(values: Mapping[str, Any]) -> None:
    """Refuse what a policy server cannot do, before it is connected to.

    Args:
        values: Parameters by name.

    Raises:
        ParameterError: The text names the parameter, and why.
    """
    if values["backend"] != "remote":
        return
    refused = {
        "execution": (values["execution"] == "rtc", "it takes no chunk to go on from; use async"),
        "steer_noise": (values["steer_noise"], "it takes no noise and gives no features to choose it by"),
        "guidance": (values["guidance"] >= 0.0, "its sampler is its own"),
        "num_steps": (values["num_steps"] > 0, "its sampler is its own"),
        "model_mapping": (not values["model_mapping"], "name the file that says what its numbers mean on this robot"),
    }
    for name, (is_refused, why) in refused.items():
        if is_refused:
            raise ParameterError(f"{name} = {values[name]!r} with backend = 'remote', a policy server: {why}")
    try:
        checked_address(values["remote"])
    except AddressError as error:
        raise ParameterError(str(error)) from error


def outage(backend: Backend) -> tuple[Reason, str] | None:
    """Why a policy server cannot be asked now; None while it can, and for models of this machine."""
    return backend.outage() if isinstance(backend, ServerBackend) else None


def figures(backend: Backend) -> Mapping[str, object]:
    """What diagnostics show of a policy server; empty for models of this machine."""
    return backend.figures() if isinstance(backend, ServerBackend) else {}


def release(backend: Backend) -> None:
    """Let go of a backend; a policy server is left."""
    if isinstance(backend, ServerBackend):
        backend.close()


def _remote(param: Read, on_step: Callable[[str], None], joint_names: tuple[str, ...]) -> Backend:
    from vla_policy.core.backends.remote import RemoteBackend

    on_step(f"waiting for the policy server at {param('remote')}")
    return RemoteBackend.load(
        param("remote"),
        mapping=param("model_mapping"),
        joint_names=joint_names,
        key=api_key(param("remote_api_key_file"), os.environ),
        deadline_s=1e-3 * param("remote_deadline_ms"),
        start_s=param("remote_start_timeout_s"),
    )


def _exported(directory: Path, on_step: Callable[[str], None], *, int8: bool) -> Path:
    from vla_policy.core.backends.onnx_cache import exported

    graphs = exported(directory, int8=int8, on_export=lambda: on_step("exporting to ONNX"))
    on_step("loading model")
    return graphs


def retell(backend: Backend, param: Read) -> None:
    """Give a fake backend its new script; others have none."""
    if isinstance(backend, FakeBackend):
        backend.told(**_script(param))


def _script(param: Read) -> dict[str, Any]:
    return {name: param(_FAKE + name) for name in _SCRIPT}
