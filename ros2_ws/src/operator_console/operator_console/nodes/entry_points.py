# SPDX-License-Identifier: Apache-2.0
"""What the scripts of this package's nodes call."""

from __future__ import annotations

from whetstone_common.nodes.start import entry_point

console_node = entry_point("operator_console.nodes.console_node")
