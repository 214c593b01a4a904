# SPDX-License-Identifier: Apache-2.0
"""Row 89: a stamp of another clock is named, with what to do."""

from __future__ import annotations

import pytest

from whetstone_common.core.clock import other_clock

S = 1_000_000_000
WALL = 1_795_790_216 * S


@pytest.mark.parametrize("offset_ns", [0, S, -S, 10 * S, -10 * S])
def test_when_stamps_are_near_expect_one_clock(offset_ns: int) -> None:
    assert other_clock(WALL - offset_ns, WALL, sim_time=False) == ""


@pytest.mark.parametrize(
    ("stamp_ns", "now_ns", "sim_time", "words"),
    [
        (5 * S, WALL, False, "stamps are 1.8e+09 s behind this node's clock: another clock; if a simulator publishes"),
        (WALL, 5 * S, True, "stamps are 1.8e+09 s ahead of this node's clock: another clock; set use_sim_time on its"),
        (WALL - 3600 * S, WALL, True, "stamps are 3.6e+03 s behind this node's clock: another clock; set the clocks"),
        (
            WALL + 3600 * S,
            WALL,
            False,
            "stamps are 3.6e+03 s ahead of this node's clock: another clock; set the clocks",
        ),
    ],
)
def test_when_stamps_are_far_expect_how_far_and_what_to_do(
    stamp_ns: int, now_ns: int, sim_time: bool, words: str
) -> None:
    assert other_clock(stamp_ns, now_ns, sim_time=sim_time).startswith(words)
