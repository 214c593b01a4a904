# SPDX-License-Identifier: Apache-2.0
"""What the scripts of this package's nodes call."""

from __future__ import annotations

from whetstone_common.nodes.start import entry_point

recorder_node = entry_point("experience.nodes.recorder_node")
transition_node = entry_point("experience.nodes.transition_node")
