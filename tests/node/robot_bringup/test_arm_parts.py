# SPDX-License-Identifier: Apache-2.0
"""The control thread and the command log, alone."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np

from harness.until import until
from robot_bringup.core.outputs import ArmCommand
from robot_bringup.core.safety import Motion
from robot_bringup.nodes.command_log import CommandLog
from robot_bringup.nodes.control_loop import ControlLoop
from whetstone_common.core.enums import Actor
from whetstone_common.core.stamp import Stamp


def command(step: int) -> ArmCommand:
    return ArmCommand(Motion(np.zeros(2), np.zeros(2), 1.0), Actor.HUMAN, Stamp(1, 2, 3), step)


def test_when_running_expect_scheduled_times_on_an_even_grid():
    times: list[float] = []
    loop = ControlLoop(0.01, times.append)
    loop.start()
    until(lambda: len(times) >= 20, 10.0, "twenty calls")
    loop.stop()
    assert not loop.is_alive
    steps = np.diff(times) / 0.01
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    assert (np.round(steps) >= 1).all()


def test_when_a_call_takes_long_expect_skipped_periods_and_no_burst():
    times: list[float] = []
    release = threading.Event()

    def tick(scheduled_s: float) -> None:
        times.append(scheduled_s)
        if len(times) == 3:
            release.wait(0.2)

    loop = ControlLoop(0.01, tick)
    loop.start()
    until(lambda: len(times) >= 6, 10.0, "six calls")
    loop.stop()
    assert times[3] - times[2] > 0.15 and loop.skipped >= 10
    assert min(np.diff(times)) > 0.0099


def test_when_stopped_from_its_own_thread_expect_no_deadlock():
    box: list[ControlLoop] = []
    loop = ControlLoop(0.005, lambda _scheduled_s: box[0].stop())
    box.append(loop)
    loop.start()
    until(lambda: not loop.is_alive, 5.0, "the loop has ended")


def test_when_commands_are_logged_expect_one_line_each_with_the_monotonic_time(tmp_path: Path):
    before_ns = time.monotonic_ns()
    log = CommandLog(tmp_path / "deep" / "arm.jsonl")
    for step in range(3):
        log.add(command(step))
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "deep" / "arm.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert lines[0] | {"t_ns": 0} == {
        "t_ns": 0, "epoch": 1, "episode": 2, "request": 3, "step": 0, "source": "human", "q": [0.0, 0.0, 1.0],
    }  # fmt: skip
    assert before_ns <= lines[0]["t_ns"] <= lines[2]["t_ns"] <= time.monotonic_ns()


def test_when_the_last_line_was_cut_short_by_a_kill_expect_the_new_ones_whole(tmp_path: Path):
    path = tmp_path / "arm.jsonl"
    path.write_text('{"step": 7}\n{"st', encoding="utf-8")
    log = CommandLog(path)
    log.add(command(8))
    log.close()
    first, cut, last = path.read_text(encoding="utf-8").splitlines()
    assert (json.loads(first)["step"], cut, json.loads(last)["step"]) == (7, '{"st', 8)


def test_when_the_disk_is_full_expect_lines_dropped_and_counted_and_nobody_waiting():
    log = CommandLog(Path("/dev/full"))
    for step in range(3):
        log.add(command(step))
    log.close()
    assert log.dropped == 3
