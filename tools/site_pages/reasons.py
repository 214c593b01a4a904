# SPDX-License-Identifier: Apache-2.0
"""Troubleshooting: every reason that a node may give for its state, with cause and cure."""

from __future__ import annotations

from site_pages.tables import code, table
from whetstone_common.core.reason import Reason, State, sentence
from whetstone_common.core.remedies import REMEDIES

_HEAD = """# Reasons of a node, and their cures

`whetstone status` and the topic `node_status` show for each node its state, a reason and a detail.
The detail names stream, value and range. `/diagnostics` shows the same. Find the reason here.

"""


def pages() -> dict[str, str]:
    """The page, by its path below docs/."""
    states = table(("state", "in words", "number"), [(code(s.name), sentence(s), str(s.value)) for s in State])
    found = [reason for reason in Reason if reason is not Reason.NONE]
    rows = [(code(reason.name), f"[see below](#{reason.name.lower()})", str(reason.value)) for reason in found]
    lines = [_HEAD + table(("reason", "cure", "number"), rows)]
    for reason in found:
        remedy = REMEDIES[reason]
        lines.append(
            f"## {reason.name} {{: #{reason.name.lower()} }}\n\n**Cause.** {remedy.cause}\n\n**Cure.** {remedy.cure}\n"
        )
    lines.append("## States { #states }\n\n" + states)
    return {"reference/reasons.md": "\n".join(lines)}
