# SPDX-License-Identifier: Apache-2.0
"""Status of a node as diagnostics, for `rqt_robot_monitor`, `rqt_runtime_monitor` and diagnostic_aggregator."""

from __future__ import annotations

from collections.abc import Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from whetstone_common.core.reason import Reason, State, sentence

_OK = {State.READY, State.RUNNING, State.FINALIZED}
_ERROR = {State.STOPPED, State.ERROR}


def level_of(state: State, reason: Reason) -> bytes:
    """Level of a state: OK while the node works, WARN while it starts or waits, ERROR when it needs somebody.

    A node that works and gives a reason (an input that it cannot receive, a disarmed arm) is a WARN, unless the reason
    belongs to normal operation.
    """
    if state in _ERROR:
        return DiagnosticStatus.ERROR
    is_normal = reason in (Reason.NONE, Reason.EPISODE_END, Reason.TAKEOVER, Reason.SHUTDOWN)
    return DiagnosticStatus.OK if state in _OK and is_normal else DiagnosticStatus.WARN


def diagnostics_of(
    node: str, host: str, status: tuple[State, Reason, str], values: Mapping[str, object], stamp: Time
) -> DiagnosticArray:
    """Message with one status.

    Args:
        node: Fully qualified name. The name of the status is `<node without its first slash>: status`, as
            diagnostic_updater names it.
        host: Machine that the node runs on.
        status: State, reason and detail.
        values: Figures by name.
        stamp: ROS time.
    """
    entry = DiagnosticStatus(
        level=level_of(*status[:2]),
        name=f"{node.lstrip('/')}: status",
        message=sentence(*status),
        hardware_id=host,
        values=[KeyValue(key=name, value=_text(value)) for name, value in values.items()],
    )
    return DiagnosticArray(header=Header(stamp=stamp), status=[entry])


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
