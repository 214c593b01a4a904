# SPDX-License-Identifier: Apache-2.0
"""Append-only records on disk that survive the loss of power at any byte."""

from experience.core.spool.fileops import DiskFiles, FileOps
from experience.core.spool.record import RecordError, RecordKind, StoredRecord
from experience.core.spool.spool import Full, Spool, SpoolEntry, SpoolFullError, SpoolLimits, WhenFull, read_all

__all__ = [
    "DiskFiles",
    "FileOps",
    "Full",
    "RecordError",
    "RecordKind",
    "Spool",
    "SpoolEntry",
    "SpoolFullError",
    "SpoolLimits",
    "StoredRecord",
    "WhenFull",
    "read_all",
]
