# SPDX-License-Identifier: Apache-2.0
"""A policy server in a process of its own plays an episode through the whole stack; it is killed and comes back."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experience.core.recording.reader import metadata
from fakes.policy_server import write_mapping
from harness.proc import Proc
from harness.until import until
from harness.world import World
from whetstone_cli.cli.evaluate import EvalOptions, evaluate, running_client
from whetstone_cli.cli.model_options import remote_arguments
from whetstone_cli.cli.options import StackOptions

pytestmark = [pytest.mark.timeout(400), pytest.mark.cores(2)]

_TESTS = Path(__file__).resolve().parents[1]
_LISTENING = re.compile(r"listening on (\d+)")


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., tuple[Proc, int]]]:
    """Starts a policy server; returns its process and its port."""
    started: list[Proc] = []
    paths = os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])

    def start(policy: str, port: int = 0) -> tuple[Proc, int]:
        command = [sys.executable, "-m", "fakes.policy_server", str(port), policy]
        proc = Proc(f"policy_server_{len(started)}", command, folder=tmp_path, env={**os.environ, "PYTHONPATH": paths})
        started.append(proc)
        found = until(lambda: _LISTENING.search(proc.output.read_text()), 60.0, "a server that listens")
        return proc, int(found[1])

    yield start
    for proc in started:
        proc.kill9()


@pytest.mark.usefixtures("keep_environment")
def test_when_the_pocket_vla_is_behind_a_policy_server_expect_it_to_play_an_episode(
    tmp_path: Path, start_server: Callable[..., tuple[Proc, int]]
) -> None:
    _, port = start_server("pocket")
    # The pocket VLA refuses words that it does not know, so the words to try it with are given.
    mapping = write_mapping(tmp_path, more="instructions: [put the red cube on the blue plate]\n")
    extra = remote_arguments(f"ws://localhost:{port}", mapping)
    extra |= {"record": "true", "record_dir": str(tmp_path / "recordings")}
    stack = StackOptions("pick_place", extra=tuple(extra.items()))
    with running_client(stack, tmp_path / "stack.log", attach=False, takes=0, note=lambda _text: None) as client:
        evaluation = evaluate(client, "pick_place", EvalOptions(2, 0), lambda _feedback: None)
    assert len(evaluation.rows) == 2, evaluation.message
    # One scene may fail, as with the model itself; it is played to its end all the same.
    assert {row.outcome for row in evaluation.rows} <= {"succeeded", "timed_out"}
    assert any(row.outcome == "succeeded" for row in evaluation.rows)
    files = sorted((tmp_path / "recordings").glob("*.mcap"))
    assert [metadata(file)["outcome"] for file in files] == [row.outcome for row in evaluation.rows]


def test_when_the_server_is_killed_expect_the_node_to_hold_with_the_reason_and_to_work_again_when_it_is_back(
    world: World, tmp_path: Path, start_server: Callable[..., tuple[Proc, int]]
) -> None:
    proc, port = start_server("still")
    address = f"ws://localhost:{port}"
    parameters = {"backend": "remote", "remote": address, "model_mapping": str(write_mapping(tmp_path))}
    world.node("vla_policy", "vla_node", parameters=parameters)
    world.wait_ready("vla_node")
    proc.send(signal.SIGKILL)
    world.watcher.wait_state("vla_node", ("HOLDING",), 10.0)
    status = world.watcher.latest("vla_node")
    assert status is not None and status.reason == "MODEL_FAILURE" and address in status.detail
    start_server("still", port)
    world.watcher.wait_state("vla_node", ("READY",), 20.0)
