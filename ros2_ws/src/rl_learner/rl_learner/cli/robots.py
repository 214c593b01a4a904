# SPDX-License-Identifier: Apache-2.0
"""What the batch jobs have in common: a robot's recordings, seen with the eyes of a policy."""

from __future__ import annotations

from rl_learner.core.watching import Watcher
from vla_policy.core.protocol import PolicySpec
from vla_policy.nodes.resources import find_robot
from whetstone_common.core.kinematics import Kinematics


def watcher_of(robot_file: str, spec: PolicySpec) -> Watcher:
    """A watcher of that robot's recordings; raises as `find_robot`."""
    robot = find_robot(robot_file)
    return Watcher(spec, Kinematics.from_urdf(robot.urdf, robot.tip, robot.joints.arm), robot.joints.names)
