# SPDX-License-Identifier: Apache-2.0
"""Durations of the stages from request to chunk, and as figures of diagnostics."""

from __future__ import annotations

import math

import pytest

from whetstone_common.core.stage_latency import SHOWN, STAGES, StageLatency, latencies_of, latency_values


def test_when_many_cycles_were_measured_expect_median_and_p99_of_the_newest_in_the_order_of_the_way() -> None:
    latency = StageLatency()
    for number in range(1000):
        latency.on_cycle(1e-3 * (number + 100), dict.fromkeys(STAGES, 1e-3 * number / 100))
    found = latency.summary()
    assert tuple(found) == SHOWN[:-1], "the arm has played nothing"
    assert found["request to chunk"].count == 256
    assert found["request to chunk"].median_ms == pytest.approx(971.5)
    assert found["request to chunk"].p99_ms == pytest.approx(1096.45)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -0.1, 1e9])
def test_when_a_stage_says_what_is_no_duration_expect_it_left_out(odd: float) -> None:
    latency = StageLatency()
    latency.on_cycle(0.2, {"prefix": odd, "steer": 0.1})
    assert "prefix" not in latency.summary() and latency.summary()["steer"].median_ms == pytest.approx(100.0)


def test_when_figures_go_through_diagnostics_expect_them_back_and_what_cannot_be_read_left_out() -> None:
    latency = StageLatency()
    latency.on_cycle(0.25, {"prefix": 0.125})
    texts = {name: str(value) for name, value in latency_values(latency.summary()).items()} | {"decisions": "3"}
    assert latencies_of(texts) == latency.summary()
    texts["latency/prefix/p99_ms"] = "soon"
    assert set(latencies_of(texts)) == {"transport", "request to chunk"}
    assert latencies_of({}) == {}
