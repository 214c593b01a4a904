# SPDX-License-Identifier: Apache-2.0
"""Real time without a clock: steps that are due, and delays."""

from __future__ import annotations

import numpy as np
import pytest

from sim_bridge.core.pacing import MAX_BACKLOG_S, DelayLine, Every, Pacer


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_when_time_passes_unevenly_expect_no_step_lost(factor: float) -> None:
    pacer, now_s, steps = Pacer(0.002, factor), 100.0, 0
    assert pacer.due(now_s) == 0
    for pause_s in np.random.default_rng(0).uniform(0.0, 0.02, 1000):
        now_s += float(pause_s)
        steps += pacer.due(now_s)
    assert steps * 0.002 == pytest.approx((now_s - 100.0) * factor, abs=0.0021)
    assert pacer.dropped_s == 0.0


def test_when_the_process_was_stopped_for_long_expect_the_rest_dropped_and_told() -> None:
    pacer = Pacer(0.002, 1.0)
    pacer.due(0.0)
    assert pacer.due(10.0) == pytest.approx(MAX_BACKLOG_S / 0.002, abs=1)
    assert pacer.dropped_s == pytest.approx(10.0 - MAX_BACKLOG_S)


def test_when_items_wait_expect_them_in_order_and_not_before_their_time() -> None:
    line: DelayLine[str] = DelayLine(0.5)
    assert line.wait_s(0.0) is None
    line.put(0.0, "a")
    line.put(0.2, "b")
    assert line.take_due(0.4) == [] and line.wait_s(0.4) == pytest.approx(0.1)
    assert line.take_due(0.5) == ["a"]
    assert line.take_due(9.0) == ["b"]
    line.put(0.0, "c")
    line.clear()
    assert line.take_due(9.0) == []


def test_when_moments_are_missed_expect_the_row_to_go_on_without_a_rush() -> None:
    every = Every(0.1)
    assert every.is_due(5.0)
    assert not every.is_due(5.05)
    assert every.is_due(5.1)
    assert every.is_due(7.0) and not every.is_due(7.05)
    every.restart()
    assert every.is_due(7.06)
