# SPDX-License-Identifier: Apache-2.0
"""The fault rows as data: what is done, who judges, and which removed protection must make it fail."""

from __future__ import annotations

from harness.rows import chunks, inputs, people, processes, timing
from harness.rows.case import Case

CASES: tuple[Case, ...] = (
    *processes.CASES,
    *inputs.CASES,
    *timing.CASES,
    *chunks.CASES,
    *people.CASES,
)
