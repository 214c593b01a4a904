# SPDX-License-Identifier: Apache-2.0
"""What the scripts of this package's nodes call."""

from __future__ import annotations

from whetstone_common.nodes.start import entry_point

episode_node = entry_point("robot_operation.nodes.episode_node")
operator_node = entry_point("robot_operation.nodes.operator_node")
