# SPDX-License-Identifier: Apache-2.0
"""One record of a segment file.

Layout, little-endian: magic "WSPL", version u16, kind u8, flags u8, schema u32, sequence u64, length u32, CRC-32 u32,
payload. The checksum covers the header before it and the payload. Records belong together in batches: all but the last
of a batch carry the flag MORE, and a batch whose last record is missing does not count.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"WSPL"
VERSION = 1
MAX_PAYLOAD = 64 << 20
MORE = 1
_FIELDS = struct.Struct("<4sHBBIQI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size
LENGTH_OFFSET = _FIELDS.size - 4


class RecordError(ValueError):
    """Bytes that are no whole record."""


class RecordKind(IntEnum):
    """What a record is."""

    DATA = 1  # counted: the sequence grows by one with each
    NOTE = 2  # not counted: carries the sequence of the data before it


@dataclass(frozen=True)
class StoredRecord:
    """A record as it was read.

    Attributes:
        kind: DATA or NOTE.
        seq: Sequence number.
        schema: What the payload is.
        payload: Its bytes; empty when only headers are read.
        more: Whether its batch goes on.
        length: Of the payload (bytes).
    """

    kind: RecordKind
    seq: int
    schema: int
    payload: bytes
    more: bool
    length: int

    @property
    def size(self) -> int:
        """Of the whole record (bytes)."""
        return HEADER_BYTES + self.length


def encode(kind: RecordKind, seq: int, schema: int, payload: bytes, *, more: bool) -> bytes:
    """Bytes of a record.

    Raises:
        RecordError: The payload is too large.
    """
    if len(payload) > MAX_PAYLOAD:
        raise RecordError(f"a payload of {len(payload)} bytes, at most {MAX_PAYLOAD}")
    head = _FIELDS.pack(MAGIC, VERSION, kind, MORE if more else 0, schema, seq, len(payload))
    return head + _CRC.pack(zlib.crc32(payload, zlib.crc32(head))) + payload


def decode_header(data: bytes | memoryview) -> tuple[StoredRecord, int]:
    """Record without its payload, and the checksum that head and payload must have.

    Raises:
        RecordError: It is no header.
    """
    if len(data) < HEADER_BYTES:
        raise RecordError(f"{len(data)} bytes are no header")
    magic, version, kind, flags, schema, seq, length = _FIELDS.unpack_from(data)
    if magic != MAGIC:
        raise RecordError(f"magic {magic!r}")
    if version != VERSION or kind not in tuple(RecordKind) or flags not in (0, MORE):
        raise RecordError(f"version {version}, kind {kind}, flags {flags}")
    # Before anything is read: the size comes off the disk and may be anything.
    if length > MAX_PAYLOAD:
        raise RecordError(f"a payload of {length} bytes, at most {MAX_PAYLOAD}")
    record = StoredRecord(RecordKind(kind), seq, schema, b"", bool(flags & MORE), length)
    return record, int(_CRC.unpack_from(data, _FIELDS.size)[0])


def decode(data: bytes | memoryview) -> StoredRecord:
    """First record of the data.

    Raises:
        RecordError: It is not whole or not what was written.
    """
    view = memoryview(data)
    head, checksum = decode_header(view)
    if len(view) < head.size:
        raise RecordError(f"cut after {len(view)} of {head.size} bytes")
    payload = view[HEADER_BYTES : head.size]
    if zlib.crc32(payload, zlib.crc32(view[: _FIELDS.size])) != checksum:
        raise RecordError(f"checksum of record {head.seq}")
    return StoredRecord(head.kind, head.seq, head.schema, bytes(payload), head.more, head.length)
