# SPDX-License-Identifier: Apache-2.0
"""Entry points of the nodes."""

from __future__ import annotations

from whetstone_common.nodes.start import entry_point

sim_node = entry_point("sim_bridge.nodes.sim_node")
