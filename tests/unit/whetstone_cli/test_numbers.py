# SPDX-License-Identifier: Apache-2.0
"""Threads of a training that runs beside a robot."""

from __future__ import annotations

import os

import pytest

from whetstone_cli.jobs.numbers import default_threads


def test_when_the_environment_bounds_threads_expect_a_training_to_keep_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert default_threads() == 1


@pytest.mark.parametrize("text", ["", "0", "many"])
def test_when_it_says_nothing_that_counts_expect_every_core_of_the_process(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert default_threads() == len(os.sched_getaffinity(0))
