# SPDX-License-Identifier: Apache-2.0
"""The whole stack as the command line runs it: same seed same commands, a dead simulator, an interrupted user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from vla_interfaces.msg import Executed

from experience.core.prior import transitions_in
from experience.core.recording.reader import metadata
from harness.until import until
from whetstone_cli.cli import demos, jobs
from whetstone_cli.cli import evaluate as evaluate_command
from whetstone_cli.cli.client import Client
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import EvalOptions, evaluate, running_client
from whetstone_cli.cli.options import StackOptions

pytestmark = [pytest.mark.timeout(400), pytest.mark.cores(2)]

_STEPS = 40


def stack_of(backend: str = "fake", **extra: str) -> StackOptions:
    return StackOptions("pick_place", backend=backend, extra=tuple(extra.items()))


def ignore(_anything: Any) -> None:
    """Nobody watches a test's progress bar."""


def run_and_log(folder: Path, seeds: list[int]) -> list[list[tuple[str, tuple[float, ...]]]]:
    """Commands of each episode, as arm_node wrote them down: who, and the joint positions."""
    folder.mkdir()
    log = folder / "commands.jsonl"
    stack = stack_of("onnx", command_log=str(log))
    with running_client(stack, folder / "stack.log", attach=False, takes=0, note=ignore) as client:
        for seed in seeds:
            evaluation = evaluate(client, "pick_place", EvalOptions(1, seed, max_steps=_STEPS), ignore)
            assert [row.outcome for row in evaluation.rows] == ["timed_out"], evaluation.message
            assert evaluation.rows[0].steps == _STEPS
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [
        [(line["source"], tuple(line["q"])) for line in lines if line["episode"] == number]
        for number in range(1, len(seeds) + 1)
    ]


@pytest.mark.usefixtures("keep_environment")
def test_when_a_seed_is_run_again_expect_the_same_commands_bit_for_bit(tmp_path: Path) -> None:
    first, again, other = run_and_log(tmp_path / "a", [5, 5, 6])
    (fresh,) = run_and_log(tmp_path / "b", [5])
    assert len(first) >= _STEPS
    assert len(set(first)) > _STEPS // 2, "a policy that does not move proves nothing"
    assert first == again
    assert first == fresh
    assert first != other


@pytest.mark.usefixtures("keep_environment")
def test_when_episodes_are_filmed_expect_a_third_camera_that_moves_in_the_film_of_the_last_ones(tmp_path: Path) -> None:
    path = tmp_path / "eval.mp4"
    outputs = evaluate_command.EvalOutputs(film=path, films=2)
    options = EvalOptions(3, 5, max_steps=_STEPS)
    evaluate_command.run(stack_of("onnx"), options, outputs, attach=False, log=tmp_path / "stack.log")
    frames = iio.imread(path)
    assert frames.shape[1:] == (588, 640, 3)
    # Every second step has a picture; the first one may be taken before the episode begins.
    assert _STEPS - 2 <= len(frames) <= _STEPS + 2
    table, views = frames[:, :480].astype(int), frames[:, 486:582, 6:204].astype(int)
    assert np.abs(np.diff(table, axis=0)).max(axis=(1, 2, 3)).min() > 20, "each shows another moment"
    assert np.abs(views[len(frames) // 2 - 2] - views[0]).max() > 50, "and what the policy sees"


@pytest.mark.usefixtures("keep_environment")
def test_when_the_simulator_is_killed_expect_the_end_of_the_stack_with_its_name(tmp_path: Path) -> None:
    with running_client(stack_of(), tmp_path / "stack.log", attach=False, takes=0, note=ignore) as client:
        (sim,) = [
            child for child in psutil.Process().children(recursive=True) if "sim_node" in " ".join(child.cmdline())
        ]
        killer = threading.Timer(2.0, sim.kill)
        killer.start()
        with pytest.raises(UserError, match="sim_node-1 has died.*SIGKILL"):
            play_until_the_stack_ends(client)
        killer.join()


def play_until_the_stack_ends(client: Client) -> None:
    """One episode without an end; it may be aborted before the last process of the stack has ended."""
    assert not evaluate(client, "pick_place", EvalOptions(1, max_steps=100000), ignore).judged
    client.spin_until(lambda: False, 20.0)


@pytest.mark.usefixtures("keep_environment")
def test_when_the_expert_demonstrates_expect_a_recording_a_dataset_a_prior_and_a_finetuned_model(
    tmp_path: Path,
) -> None:
    figures = demos.run(demos.DemosOptions("stack", 1, 3, tmp_path))
    (recording,) = (tmp_path / "mcap").glob("*.mcap")
    known = metadata(recording)
    assert known["outcome"] == "succeeded"
    rows = pq.read_table(tmp_path / "lerobot" / "data" / "chunk-000" / "file-000.parquet").to_pydict()
    assert len(rows["index"]) == figures["frames"]
    assert len(rows["index"]) >= int(known["steps"]) - 1
    assert set(rows["actor"]) == {Executed.HUMAN}
    assert rows["next.success"][-1]

    jobs.make_prior(jobs.PriorOptions(tmp_path / "lerobot", tmp_path / "prior"))
    transitions = list(transitions_in(tmp_path / "prior"))
    assert [t.episode_step for t in transitions] == list(range(0, len(rows["index"]), 2))
    assert transitions[-1].rewards[-1] > 0.0
    assert {t.instruction for t in transitions} == {known["instruction"]}
    with pytest.raises(UserError):
        jobs.make_prior(jobs.PriorOptions(tmp_path / "lerobot", tmp_path / "prior"))

    jobs.finetune([tmp_path / "lerobot"], tmp_path / "model", "", "sim_panda", steps=2)
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest["finetuned"]["windows"] == len(transitions)


def test_when_an_evaluation_is_recorded_expect_a_file_of_every_episode_with_its_end(tmp_path: Path) -> None:
    recordings = tmp_path / "data"
    command = [sys.executable, "-m", "whetstone_cli.cli.main", "eval", "--backend", "fake", "--episodes", "2"]
    options = ["--max-steps", "40", "--record", str(recordings), "--log", str(tmp_path / "stack.log")]
    subprocess.run([*command, *options], check=True, timeout=300.0)  # noqa: S603
    ends = [(each["seed"], each["outcome"]) for each in map(metadata, sorted(recordings.glob("*.mcap")))]
    assert sorted(ends) == [("0", "timed_out"), ("1", "timed_out")]


def test_when_the_user_interrupts_expect_exit_130_and_no_process_left(tmp_path: Path) -> None:
    tag = uuid.uuid4().hex
    env = dict(os.environ) | {"WHETSTONE_TEST_TAG": tag}
    log = tmp_path / "stack.log"
    words = ["eval", "--task", "stack", "--backend", "fake", "--episodes", "99", "--max-steps", "100000"]
    with (tmp_path / "cli.log").open("wb") as sink:
        command = [sys.executable, "-m", "whetstone_cli.cli.main", *words, "--log", str(log)]
        cli = subprocess.Popen(command, env=env, stdout=sink, stderr=subprocess.STDOUT)  # noqa: S603
    try:
        until(lambda: log.exists() and "[arm_node]: running" in log.read_text(), 150.0, "the arm runs")
        cli.send_signal(signal.SIGINT)
        assert cli.wait(60.0) == 130, (tmp_path / "cli.log").read_text()
    finally:
        cli.kill()
    until(lambda: not tagged(tag), 5.0, "no process is left")


def tagged(tag: str) -> list[str]:
    """Living processes that inherited the tag."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("WHETSTONE_TEST_TAG") == tag and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
