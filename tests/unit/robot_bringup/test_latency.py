# SPDX-License-Identifier: Apache-2.0
"""How early to ask."""

from __future__ import annotations

from robot_bringup.core.latency import Latency


def test_when_nothing_is_known_expect_one_step():
    assert Latency().steps(0.05, 15) == 1


def test_when_replies_differ_expect_the_slowest_and_a_margin_and_never_more_than_allowed():
    latency = Latency()
    for took_s in (0.04, 0.21, 0.1):
        latency.asked(10.0)
        latency.arrived(10.0 + took_s, {})
    assert latency.steps(0.05, 15) == 6
    assert latency.steps(0.05, 4) == 4


def test_when_a_slow_reply_is_long_ago_expect_it_forgotten():
    latency = Latency()
    for took_s in (0.5, *[0.04] * 8):
        latency.asked(0.0)
        latency.arrived(took_s, {})
    assert latency.steps(0.05, 15) == 2


def test_when_a_chunk_is_taken_and_played_expect_the_stages_of_its_way_and_only_its_first_step_counted():
    latency = Latency()
    latency.asked(10.0)
    latency.arrived(10.2, {"camera": 0.5, "prefix": 0.15})
    for now_s in (10.25, 10.5, 11.0):
        latency.played(now_s)
    found = latency.stages.summary()
    assert {stage: round(each.median_ms) for stage, each in found.items()} == {
        "camera": 500, "prefix": 150, "transport": 50, "request to chunk": 200, "arm": 50,
    }  # fmt: skip
    assert all(each.count == 1 for each in found.values())
