# SPDX-License-Identifier: Apache-2.0
"""Vectorized environments, each in its own process or sequentially in this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

# The default start method, fork, would copy threads and OpenGL context of the training process.
_START_METHOD = "spawn"

MakeEnvironment = Callable[[], gymnasium.Env]


def make_vector(makers: Sequence[MakeEnvironment]) -> VectorEnv:
    """Environments that step together; a single one runs in this process.

    Finished episodes are not reset automatically: reset each with a seed and
    `options={"reset_mask": mask}`, so that the episodes depend on the seeds only.

    Args:
        makers: Makes each environment, in its own process; it must be picklable by cloudpickle.

    Raises:
        ValueError: `makers` is empty.
    """
    if not makers:
        raise ValueError("0 environments, expected at least 1")
    if len(makers) == 1:
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)
    # gymnasium reads text from shared memory only once: instructions would never change.
    return AsyncVectorEnv(makers, shared_memory=False, context=_START_METHOD, autoreset_mode=AutoresetMode.DISABLED)
