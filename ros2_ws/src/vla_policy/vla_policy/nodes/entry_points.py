# SPDX-License-Identifier: Apache-2.0
"""What the scripts of this package's nodes call."""

from __future__ import annotations

from whetstone_common.nodes.start import entry_point

classifier_node = entry_point("vla_policy.nodes.classifier_node")
observation_node = entry_point("vla_policy.nodes.observation_node")
steering_node = entry_point("vla_policy.nodes.steering_node")
vla_node = entry_point("vla_policy.nodes.vla_node")
