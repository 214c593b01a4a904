# SPDX-License-Identifier: Apache-2.0
"""Vectorized environments: each in its own process, on machines of a Ray cluster, or sequentially in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from sim_bridge.core.ray_vector import RayVectorEnv

# The default start method, fork, would copy threads and OpenGL context of the training process.
_START_METHOD = "spawn"

MakeEnvironment = Callable[[], gymnasium.Env]


def make_vector(makers: Sequence[MakeEnvironment], ray_address: str = "") -> VectorEnv:
    """Environments that step together; without Ray a single one runs in this process.

    Finished episodes are not reset automatically: reset each with a seed and
    `options={"reset_mask": mask}`, so that the episodes depend on the seeds only.

    Args:
        makers: Makes each environment, in its own process; it must be picklable by cloudpickle.
        ray_address: Of a Ray cluster that runs them (`RayVectorEnv`), empty for this machine without Ray.

    Raises:
        ValueError: `makers` is empty, or the address is none.
        RuntimeError: Ray is missing, not there or too small.
    """
    if not makers:
        raise ValueError("0 environments, expected at least 1")
    if ray_address:
        return RayVectorEnv(makers, ray_address)
    if len(makers) == 1:
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)
    # gymnasium reads text from shared memory only once: instructions would never change.
    return AsyncVectorEnv(makers, shared_memory=False, context=_START_METHOD, autoreset_mode=AutoresetMode.DISABLED)
