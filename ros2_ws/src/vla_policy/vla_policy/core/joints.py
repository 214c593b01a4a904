# SPDX-License-Identifier: Apache-2.0
"""Joint states by name, and the proprioception made of them.

Legend: J joints of the arm, P proprioception dims.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_policy.core.freshness import check_stamp
from whetstone_common.core.cartesian import cartesian_proprio
from whetstone_common.core.joint_layout import JointLayout
from whetstone_common.core.joint_parts import JointMessage, JointParts, JointStateError
from whetstone_common.core.kinematics import Pose

Array = NDArray[np.float64]
# A joint that was received this much earlier than the newest one is named when the stream is silent.
_LAGS_NS = 100_000_000


@dataclass(frozen=True, eq=False)
class JointReading:
    """All joints, as they are known at one moment.

    Attributes:
        positions: [J + 1] arm (rad), then the gripper's opening.
        stamp_ns: ROS time of the oldest arm joint (ns).
        heard_ns: When the joint that is read longest was received, steady clock (ns).
        laggards: Joints that were received long before the others, in words; empty for none.
    """

    positions: Array
    stamp_ns: int
    heard_ns: int
    laggards: str = ""


class JointStream:
    """The joint states of a robot, from as many messages as its drivers make of them.

    Args:
        layout: The robot's joints.
        topic: Where they are published, for the texts.
        future_tolerance_ns: How far ahead of our clock a stamp may be.
        sim_time: Whether our clock follows /clock.
    """

    def __init__(self, layout: JointLayout, topic: str, future_tolerance_ns: int, *, sim_time: bool = False) -> None:
        self._layout = layout
        self._future_tolerance_ns = future_tolerance_ns
        self._sim_time = sim_time
        self._parts = JointParts(layout.published, topic)

    def clear(self) -> None:
        """Forget all positions."""
        self._parts.clear()

    def update(self, message: JointMessage, *, now_ns: int, steady_ns: int) -> JointReading | None:
        """Take a message; None if it held no joint of ours.

        Raises:
            StampError: Its stamp cannot be.
            JointStateError: It is refused, or joints are still missing.
        """
        check_stamp(message.stamp_ns, now_ns, self._future_tolerance_ns, sim_time=self._sim_time)
        holds_ours = self._parts.take(message, steady_ns)
        if self._parts.missing:
            raise JointStateError("missing", self._parts.missing_text())
        return self._reading() if holds_ours else None

    def _reading(self) -> JointReading:
        names = self._layout.published
        heard_ns = self._parts.heard_ns(names)
        late_ns = max(heard_ns) - _LAGS_NS
        return JointReading(
            positions=self._layout.vector(self._parts.positions(names)),
            stamp_ns=self._parts.stamp_ns(self._layout.arm),
            heard_ns=min(heard_ns),
            laggards=", ".join(name for name, ns in zip(names, heard_ns, strict=True) if ns < late_ns),
        )

    def conflict(self, steady_ns: int) -> str:
        """Two publishers of one joint in words while both speak, else empty."""
        return self._parts.conflict(steady_ns)


def proprioception(action_space: str, joints: Array, tcp: Pose) -> NDArray[np.float32]:
    """What the policy feels.

    Args:
        action_space: `cartesian`: TCP position (m), first two columns of its rotation, opening [10];
            `joint`: the joints themselves [J + 1].
        joints: [J + 1] arm (rad), then opening.
        tcp: Measured pose in the base frame.
    """
    if action_space == "joint":
        return joints.astype(np.float32)
    return cartesian_proprio(tcp, float(joints[-1]))
