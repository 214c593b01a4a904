# SPDX-License-Identifier: Apache-2.0
"""What the scripts of this package's nodes call."""

from __future__ import annotations

from whetstone_common.nodes.start import entry_point

learner_node = entry_point("rl_learner.nodes.learner_node")
