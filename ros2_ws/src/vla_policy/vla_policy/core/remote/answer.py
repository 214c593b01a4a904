# SPDX-License-Identifier: Apache-2.0
"""One request to a policy server, and the check of what comes back.

Legend: D dimensions of the model's action.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_policy.core.protocol import BackendError, FloatArray, UnavailableError
from vla_policy.core.remote.connection import PolicyConnection
from whetstone_common.core.reason import Reason

_MOST_STEPS = 10_000


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        actions: float32 [steps, D], finite.
        round_trip_s: From the request to the answer.
        server_s: What the server says of it, 0 where it says nothing.
    """

    actions: FloatArray
    round_trip_s: float
    server_s: float


def ask(connection: PolicyConnection, request: bytes, timeout_s: float) -> Answer:
    """One request.

    Raises:
        UnavailableError: No answer in time.
        BackendError: The answer holds no finite actions [steps, D].
    """
    if timeout_s <= 0.0:
        raise UnavailableError(Reason.MODEL_FAILURE, f"{connection.address}: no time is left for another chunk")
    began_s = time.perf_counter()
    message = connection.ask(request, timeout_s)
    round_trip_s = time.perf_counter() - began_s
    timing = message.get("server_timing")
    infer_ms = timing.get("infer_ms") if isinstance(timing, dict) else None
    server_s = 1e-3 * float(infer_ms) if isinstance(infer_ms, int | float) else 0.0
    return Answer(_actions(message.get("actions")), round_trip_s, server_s)


def _actions(found: Any) -> FloatArray:
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        kind = found.dtype if isinstance(found, np.ndarray) else type(found).__name__
        raise BackendError(f"actions are {kind}, expected an array of numbers")
    if found.ndim != 2 or not 1 <= len(found) <= _MOST_STEPS or not found.shape[1]:
        raise BackendError(f"actions have the shape {found.shape}, expected [steps, dimensions]")
    if not np.isfinite(found).all():
        raise BackendError("actions are not finite")
    with np.errstate(over="ignore"):
        actions = found.astype(np.float32)
    if not np.isfinite(actions).all():
        raise BackendError("actions do not fit 32-bit numbers")
    return actions
