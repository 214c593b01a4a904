# SPDX-License-Identifier: Apache-2.0
"""The fault rows as data: what is done, who judges, and which removed protection must make it fail."""

from __future__ import annotations

from harness.rows import (
    chunks,
    datasets,
    drivers,
    inputs,
    learning,
    owners,
    ownership,
    people,
    processes,
    records,
    storage,
    timing,
    truth,
    weights,
)
from harness.rows.case import Case

# What must not be missing comes first: a run that has used up its time leaves out the end.
_ORDER = (
    "50", "51", "52", "53", "54", "55", "60", "61", "62",
    "1", "8", "44", "46", "19", "22", "43", "45", "18", "13", "23", "6", "14", "25", "10", "5", "20", "9", "21", "17",
    "15", "16", "85", "86", "87", "88", "89", "31", "29", "27", "28", "30", "38", "41", "2",
    "36", "35", "32", "37", "75", "76", "77", "80", "81", "82", "83",
    "65", "67",
    "70", "71", "72",
)  # fmt: skip
_ALL = (
    *processes.CASES,
    *inputs.CASES,
    *drivers.CASES,
    *timing.CASES,
    *chunks.CASES,
    *people.CASES,
    *ownership.CASES,
    *weights.CASES,
    *learning.CASES,
    *datasets.CASES,
    *storage.CASES,
    *truth.CASES,
    *owners.CASES,
    *records.CASES,
)
CASES: tuple[Case, ...] = tuple(sorted(_ALL, key=lambda case: _ORDER.index(case.row)))
