# SPDX-License-Identifier: Apache-2.0
"""Named QoS profiles: the only place in the workspace where a depth is written."""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

# The newest one counts; an older one must never be acted on.
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
# One request cycle: request, observation, features, noise, proposal, chunk.
RING = QoSProfile(depth=4, reliability=ReliabilityPolicy.RELIABLE)
# Driver data: publishers are reliable so that either kind of reader matches them.
SENSOR_OUT = QoSProfile(depth=4, reliability=ReliabilityPolicy.RELIABLE)
SENSOR_IN = QoSProfile(depth=4, reliability=ReliabilityPolicy.BEST_EFFORT)
# Lockstep cannot lose a frame: the world waits for it.
SENSOR_IN_RELIABLE = QoSProfile(depth=4, reliability=ReliabilityPolicy.RELIABLE)
# Records that someone joins or stores: decisions, executed steps, rewards, episodes.
RECORD = QoSProfile(depth=2000, reliability=ReliabilityPolicy.RELIABLE)
# State that a late joiner must see: contract, instruction, status, e-stop.
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# What the tools of ROS show of nodes, once a second from each.
DIAGNOSTICS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
# Several processes may claim one name: each of them must be heard.
PROCESS = QoSProfile(depth=16, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# The emergency stop is heard three times: latched for what was pressed before, reliable so that a publisher that has
# just come loses nothing, and best effort, which every publisher matches. The depth keeps a press that is followed by a
# release at once. Who publishes it uses the first.
ESTOP = (
    QoSProfile(depth=32, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    QoSProfile(depth=32, reliability=ReliabilityPolicy.RELIABLE),
    QoSProfile(depth=32, reliability=ReliabilityPolicy.BEST_EFFORT),
)
# Weights come in pieces; a late joiner needs all of the newest set.
WEIGHTS = QoSProfile(depth=64, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
CLOCK = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
