# SPDX-License-Identifier: Apache-2.0
"""Starts a job in several processes that train together: `python -m whetstone_cli.jobs.spread 2 post_train sft ...`.

On one machine. Over several machines, `torchrun -m whetstone_cli.jobs.post_train` on each of them does the same.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from uuid import uuid4

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def run(processes: int, job: str, words: Sequence[str]) -> int:
    """Exit code: 0, or that of the process that failed first; the job itself has said why."""
    # the launcher would print its own call stack below the job's sentence
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", f"whetstone_cli.jobs.{job}", *words)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return int(failure.exitcode)
    return 0


def main() -> int:
    """Entry point."""
    return run(int(sys.argv[1]), sys.argv[2], sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
