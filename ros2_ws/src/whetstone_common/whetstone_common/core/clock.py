# SPDX-License-Identifier: Apache-2.0
"""Whether a stamp and this node's clock can be of one clock."""

from __future__ import annotations

# No sensor is this late; NTP keeps computers far closer.
_OTHER_CLOCK_NS = 10_000_000_000
NO_CLOCK = "use_sim_time is true and nobody publishes /clock"
UNSTAMPED = "stamp is zero: its driver does not stamp what it publishes"


def other_clock(stamp_ns: int, now_ns: int, *, sim_time: bool) -> str:
    """Why a stamp is of another clock than this node's, and what to do; empty when it may be of the same.

    Args:
        stamp_ns: ROS time of a measurement that has just been received (ns).
        now_ns: This node's ROS time (ns).
        sim_time: Whether that follows /clock.
    """
    behind_ns = now_ns - stamp_ns
    if abs(behind_ns) <= _OTHER_CLOCK_NS:
        return ""
    side = "behind" if behind_ns > 0 else "ahead of"
    what_to_do = "set the clocks of both computers (NTP or chrony)"
    if behind_ns > 0 and not sim_time:
        what_to_do = "if a simulator publishes /clock, start with use_sim_time:=true"
    elif behind_ns < 0 and sim_time:
        what_to_do = "set use_sim_time on its driver, or start without use_sim_time:=true"
    return f"stamps are {abs(behind_ns) * 1e-9:.3g} s {side} this node's clock: another clock; {what_to_do}"
