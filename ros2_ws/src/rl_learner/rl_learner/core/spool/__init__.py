# SPDX-License-Identifier: Apache-2.0
"""Append-only records on disk that survive the loss of power at any byte."""

from rl_learner.core.spool.fileops import DiskFiles, FileOps
from rl_learner.core.spool.record import Kind, RecordError, StoredRecord
from rl_learner.core.spool.spool import Entry, Full, Limits, Spool, SpoolFullError, WhenFull, read_all

__all__ = [
    "DiskFiles",
    "Entry",
    "FileOps",
    "Full",
    "Kind",
    "Limits",
    "RecordError",
    "Spool",
    "SpoolFullError",
    "StoredRecord",
    "WhenFull",
    "read_all",
]
