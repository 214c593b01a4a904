# SPDX-License-Identifier: Apache-2.0
"""Damage costs the records that it touches and no others, wherever it strikes, and no byte is taken off the disk."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from experience.core.spool import RecordKind, Spool, SpoolEntry, SpoolLimits, read_all
from experience.core.spool.record import HEADER_BYTES, LENGTH_OFFSET

WIDE = SpoolLimits(max_bytes=10**9, segment_bytes=10**8)
NARROW = SpoolLimits(max_bytes=10**9, segment_bytes=600)
BATCHES = 8


def batch(number: int) -> list[SpoolEntry]:
    """Three data records of different lengths and a note."""
    data = [SpoolEntry(RecordKind.DATA, 1, f"{number}.{i}".encode().ljust(20 + 7 * i, b"_")) for i in range(3)]
    return [*data, SpoolEntry(RecordKind.NOTE, 2, f"note {number}".encode())]


def make(folder: Path, limits: SpoolLimits = WIDE, batches: int = BATCHES) -> None:
    spool = Spool(folder, limits, identity=77)
    for number in range(batches):
        spool.append(batch(number))
    spool.close()


def places(file: Path) -> list[tuple[int, int, int, str]]:
    """(start, end, sequence, text) of each record of a whole file; the sequence of a note is 0."""
    data, offset, found = file.read_bytes(), 0, []
    while offset < len(data):
        length = int.from_bytes(data[offset + LENGTH_OFFSET : offset + LENGTH_OFFSET + 4], "little")
        is_data = data[offset + 6] == RecordKind.DATA
        seq = int.from_bytes(data[offset + 12 : offset + 20], "little") if is_data else 0
        text = data[offset + HEADER_BYTES : offset + HEADER_BYTES + length].decode().strip("_")
        found.append((offset, offset + HEADER_BYTES + length, seq, text))
        offset = found[-1][1]
    return found


def everything(spool: Spool) -> list[str]:
    """Data page by page, then the notes."""
    found, after = [], 0
    while page := spool.read(after, 2, 10**6):
        assert [r.seq for r in page] == list(range(page[0].seq, page[0].seq + len(page)))
        found += [r.payload.decode().strip("_") for r in page]
        after = page[-1].seq
    return found + [n.payload.decode() for n in spool.notes()]


def untouched(file: Path, whole: bytes, harmed: bytes) -> set[str]:
    """Texts of the records that hold no changed byte."""
    file.write_bytes(whole)
    records = places(file)
    file.write_bytes(harmed)
    return {text for start, end, _seq, text in records if whole[start:end] == harmed[start:end]}


@settings(max_examples=150, deadline=None)
@example(flips=[(0.982421875, 2)], narrow=True, which=0.0)  # the last length of a closed file, made smaller
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4),
    narrow=st.booleans(),
    which=st.floats(0, 1, exclude_max=True),
)
def test_when_bytes_flip_anywhere_expect_every_other_whole_record(
    flips: list[tuple[float, int]], narrow: bool, which: float
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, NARROW if narrow else WIDE)
        files = sorted(folder.glob("*.wsp"))
        file = files[int(which * len(files))]
        whole = file.read_bytes()
        records = places(file)
        harmed = bytearray(whole)
        for place, mask in flips:
            harmed[int(place * len(whole))] ^= mask
        wanted = untouched(file, whole, bytes(harmed))
        last_batch = {text for _start, _end, _seq, text in records[-4:]}
        spool = Spool(folder, WIDE, identity=1)
        others = {text for each in files if each != file for _s, _e, _q, text in places(each)}
        found = everything(spool)
        # Of several flips in the newest batch of an open file nobody can say whether they are a torn write.
        sure = wanted if len(flips) == 1 else wanted - last_batch
        assert sure | others <= set(found) <= wanted | others
        assert len(found) == len(set(found))
        assert bool(spool.lost) == (bytes(harmed) != whole)
        assert file.read_bytes() == bytes(harmed)
        first, _last = spool.append(batch(99))
        assert first > max(seq for _s, _e, seq, text in records if text in found) if found else first > 0
        assert [r.payload[:4] for r in spool.read(first - 1, 10, 10**6)] == [b"99.0", b"99.1", b"99.2"]
        spool.close()
        again = Spool(folder, WIDE, identity=1)
        assert set(everything(again)) == set(found) | {"99.0", "99.1", "99.2", "note 99"}
        assert (again.lost, again.identity) == ([], 77)
        again.close()
        assert {r.payload.decode().strip("_") for r in read_all(folder)} >= sure | others


@pytest.mark.parametrize("narrow", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("harm", ["inverted", "zeros", "length too large", "length too small", "cut out", "header"])
def test_when_the_middle_is_damaged_expect_the_good_ones_behind_it(tmp_path: Path, harm: str, narrow: bool) -> None:
    make(
        tmp_path,
        SpoolLimits(max_bytes=10**9, segment_bytes=sum(1 for _ in range(BATCHES)) * 220 - 1) if narrow else WIDE,
    )
    file = sorted(tmp_path.glob("*.wsp"))[0]
    records, data = places(file), bytearray(file.read_bytes())
    start, end, seq, text = records[9]
    if harm == "inverted":
        data[start + 3 : end - 3] = bytes(255 - b for b in data[start + 3 : end - 3])
    elif harm == "zeros":
        data[start:end] = bytes(end - start)
    elif harm == "length too large":
        data[start + LENGTH_OFFSET : start + LENGTH_OFFSET + 4] = (60 << 20).to_bytes(4, "little")
    elif harm == "length too small":
        data[start + LENGTH_OFFSET] = 1
    elif harm == "cut out":
        del data[start:end]
    else:
        data[start : start + HEADER_BYTES] = b"\xff" * HEADER_BYTES
    file.write_bytes(data)
    spool = Spool(tmp_path, WIDE, identity=1)
    assert set(everything(spool)) == {t for _s, _e, _q, t in records} - {text}
    assert spool.damaged_records == 1 and len(spool.lost) == 1 and file.name in spool.lost[0]
    assert seq > 0 and [r.seq for r in spool.read(seq - 1, 1, 10**6)] == [seq + 1]
    assert len(file.read_bytes()) == len(data)
    spool.close()


def test_when_two_neighbours_and_one_further_on_are_damaged_expect_three_counted(tmp_path: Path) -> None:
    make(tmp_path)
    (file,) = tmp_path.glob("*.wsp")
    records, data = places(file), bytearray(file.read_bytes())
    for number in (4, 5, 12):
        data[records[number][0] + HEADER_BYTES] ^= 1
    file.write_bytes(data)
    spool = Spool(tmp_path, WIDE, identity=1)
    assert spool.damaged_records == 3 and len(spool.lost) == 2
    assert len(everything(spool)) == 4 * BATCHES - 3
    spool.close()


@pytest.mark.parametrize("which", ["spool.json", "spool.second.json", "both"])
@pytest.mark.parametrize("harm", ["digit", "empty", "zeros", "not JSON"])
def test_when_the_books_are_damaged_expect_identity_and_acknowledgement_from_the_others(
    tmp_path: Path, which: str, harm: str
) -> None:
    make(tmp_path, NARROW)
    spool = Spool(tmp_path, NARROW, identity=1)
    spool.acknowledge(5)
    spool.close()
    names = ["spool.json", "spool.second.json"] if which == "both" else [which]
    for name in names:
        data = bytearray((tmp_path / name).read_bytes())
        if harm == "digit":
            data[data.index(b"77")] = ord("8")
        (tmp_path / name).write_bytes(
            {"digit": bytes(data), "empty": b"", "zeros": bytes(len(data)), "not JSON": b"{{{"}[harm]
        )
    again = Spool(tmp_path, NARROW, identity=99)
    assert again.identity == 77 and len(everything(again)) == 4 * BATCHES
    assert again.acknowledged == (0 if which == "both" else 5)
    if which != "spool.second.json":
        assert len(list(tmp_path.glob("*.damaged-*"))) == len(names) == len(again.lost)
    again.close()


def test_when_a_manifest_is_damaged_expect_its_segment_read_all_the_same(tmp_path: Path) -> None:
    make(tmp_path, NARROW)
    for path in tmp_path.glob("segment-*.json"):
        path.write_bytes(b"\0" * 20)
    spool = Spool(tmp_path, NARROW, identity=1)
    assert len(everything(spool)) == 4 * BATCHES and spool.lost == []
    spool.close()


def test_when_a_file_only_ends_like_a_segment_expect_it_left_alone_and_named(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "copy of a segment.wsp").write_bytes(b"whatever")
    spool = Spool(tmp_path, WIDE, identity=1)
    assert len(everything(spool)) == 4 * BATCHES and "copy of a segment.wsp" in spool.lost[0]
    assert (tmp_path / "copy of a segment.wsp").read_bytes() == b"whatever"
    assert len(list(read_all(tmp_path))) == 4 * BATCHES
    spool.close()


def test_when_the_newest_records_that_a_learner_has_are_damaged_expect_new_numbers_behind_them(tmp_path: Path) -> None:
    make(tmp_path)
    spool = Spool(tmp_path, WIDE, identity=1)
    spool.acknowledge(spool.last)
    spool.close()
    (file,) = tmp_path.glob("*.wsp")
    shutil.copy(file, tmp_path / "origin")
    file.write_bytes(file.read_bytes()[:100])
    again = Spool(tmp_path, WIDE, identity=1)
    assert again.append(batch(99))[0] == 3 * BATCHES + 1
    again.close()
