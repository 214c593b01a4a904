# SPDX-License-Identifier: Apache-2.0
"""Runs a command on some machine of a Ray cluster: `on_ray.py ADDRESS -- COMMAND...`.

It takes one CPU, waits until one is free, and runs in the same folder, which has to be there: a shared file system.
Output and exit code are the command's. Whatever ends this process ends the command.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from whetstone_common.core.child_process import die_with_parent
from whetstone_common.core.ray_cluster import HELP, connect, reason

_KEPT = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CHUNK_BYTES = 65536
_TERMINATED = 128 + signal.SIGTERM


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help=HELP)
    parser.add_argument("command", nargs="+", help="after --")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code, 1 where it could not be run or its machine was lost."""
    args = parse(argv)
    try:
        ray = connect(args.address)
    except (ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    # Ray passes on an interruption, but makes any SystemExit one of code 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        task = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD", num_returns="streaming")(run)
        return pass_on(ray, task.remote(args.command, os.getcwd(), environment))
    except KeyboardInterrupt:
        return _TERMINATED
    finally:
        ray.shutdown()  # ends the command


def run(command: list[str], folder: str, environment: Mapping[str, str]) -> Iterator[bytes | int]:
    """The command, on the machine that has been chosen; yields its output as it comes, then its exit code."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=die_with_parent(),
    ) as process:
        while chunk := process.stdout.read1(_CHUNK_BYTES):  # type: ignore[union-attr]
            yield chunk
    yield process.returncode


def pass_on(ray: Any, answers: Any) -> int:
    """Writes output as it comes; returns the exit code."""
    from ray.exceptions import RayError, RayTaskError

    code = 1
    try:
        for answer in map(ray.get, answers):
            if isinstance(answer, int):
                code = answer if answer >= 0 else 128 - answer
            else:
                sys.stdout.buffer.write(answer)
                sys.stdout.buffer.flush()
    except RayTaskError as error:
        print(f"the command could not be run there: {error.cause}", file=sys.stderr)
    except RayError as error:
        print(f"the command is lost: {reason(error)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
