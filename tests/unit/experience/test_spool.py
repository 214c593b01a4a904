# SPDX-License-Identifier: Apache-2.0
"""The spool keeps whole batches, whatever is done to its files and whenever its process ends."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from experience.core.spool import (
    FileOps,
    Full,
    RecordError,
    RecordKind,
    Spool,
    SpoolEntry,
    SpoolFullError,
    SpoolLimits,
    WhenFull,
    read_all,
)
from experience.core.spool.record import HEADER_BYTES, MAX_PAYLOAD, decode, encode
from experience.core.spool.scan import scan
from fakes.rl_files import FaultyFiles, Killed

WIDE = SpoolLimits(max_bytes=10**9, segment_bytes=10**8)


def batch(number: int, size: int = 20, count: int = 3) -> list[SpoolEntry]:
    """`count` data records and a note; all of them say which batch they belong to."""
    data = [SpoolEntry(RecordKind.DATA, 1, f"{number}.{i}".encode().ljust(size, b"_")) for i in range(count)]
    return [*data, SpoolEntry(RecordKind.NOTE, 2, f"note {number}".encode())]


def opened(folder: Path, limits: SpoolLimits = WIDE, files: FileOps | None = None) -> Spool:
    return Spool(folder, limits, identity=77, files=files)


def killed(spool: Spool) -> None:
    """What the kernel does for a dead process: the lock is gone, nothing is written."""
    os.close(spool._handle)
    spool._handle = -1


def payloads(spool: Spool) -> list[str]:
    """All data, page by page."""
    found, after = [], 0
    while page := spool.read(after, 2, 10**6):
        assert [r.seq for r in page] == list(range(page[0].seq, page[0].seq + len(page)))
        assert page[0].seq > after
        found += [r.payload.decode().strip("_") for r in page]
        after = page[-1].seq
    return found


def expected(*numbers: int, count: int = 3) -> list[str]:
    return [f"{number}.{i}" for number in numbers for i in range(count)]


# ---- records ---------------------------------------------------------------------------------------------------------


def test_when_any_bit_of_a_record_is_flipped_expect_refusal() -> None:
    data = encode(RecordKind.DATA, 5, 1, b"payload", more=False)
    assert (decode(data).payload, decode(data).seq, decode(data).schema) == (b"payload", 5, 1)
    for bit in range(len(data) * 8):
        harmed = bytearray(data)
        harmed[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(RecordError):
            decode(bytes(harmed))


def test_when_the_length_field_is_absurd_expect_refusal_before_reading() -> None:
    data = bytearray(encode(RecordKind.DATA, 1, 1, b"x", more=False))
    data[20:24] = (MAX_PAYLOAD + 1).to_bytes(4, "little")
    with pytest.raises(RecordError, match="at most"):
        decode(bytes(data))


def test_when_old_records_follow_new_ones_expect_the_scan_to_stop_between_them() -> None:
    new = encode(RecordKind.DATA, 8, 1, b"new", more=False)
    old = encode(RecordKind.DATA, 3, 1, b"old", more=False)
    found = scan(new + old)
    (damage,) = found.damages
    assert (len(found.records), damage.start, damage.text) == (1, len(new), "record 3 after 8")


# ---- append and read -------------------------------------------------------------------------------------------------


def test_when_batches_are_appended_expect_them_back_in_pages_and_after_reopening(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    assert (spool.first, spool.last) == (1, 0)
    assert spool.append(batch(1)) == (1, 3)
    assert spool.append([SpoolEntry(RecordKind.NOTE, 2, b"alone")]) == (4, 3)
    assert spool.append(batch(2)) == (4, 6)
    assert payloads(spool) == expected(1, 2)
    assert [n.payload for n in spool.notes()] == [b"note 1", b"alone", b"note 2"]
    spool.close()
    again = Spool(tmp_path, WIDE, identity=99)
    assert (payloads(again), again.identity, again.lost) == (expected(1, 2), 77, [])
    assert again.append(batch(3))[0] == 7
    assert [r.seq for r in read_all(tmp_path)] == [1, 2, 3, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9]
    again.close()


def test_when_a_second_process_opens_it_expect_refusal(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    with pytest.raises(BlockingIOError):
        opened(tmp_path)
    spool.close()
    opened(tmp_path).close()


def test_when_a_page_is_bounded_by_bytes_expect_at_least_one_record(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(batch(1, size=1000))
    assert [r.seq for r in spool.read(0, 10, 1)] == [1]
    assert [r.seq for r in spool.read(0, 10, 2500)] == [1, 2]
    spool.close()


def test_when_a_segment_is_full_expect_a_manifest_with_its_hash(tmp_path: Path) -> None:
    spool = opened(tmp_path, SpoolLimits(max_bytes=10**6, segment_bytes=150))
    for number in range(4):
        spool.append(batch(number))
    spool.close()
    manifests = sorted(tmp_path.glob("segment-*.json"))
    assert len(manifests) == 4
    for path in manifests:
        body = json.loads(path.read_text())
        file = tmp_path / body["file"]
        assert body["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert (body["bytes"], body["data"], body["notes"]) == (file.stat().st_size, 3, 1)
    assert payloads(opened(tmp_path)) == expected(0, 1, 2, 3)


def test_when_a_closed_segment_rots_expect_the_bad_record_left_out_and_named(tmp_path: Path) -> None:
    spool = opened(tmp_path, SpoolLimits(max_bytes=10**6, segment_bytes=150))
    spool.append(batch(1))
    spool.append(batch(2))
    (first, _second) = sorted(tmp_path.glob("*.wsp"))
    harmed = bytearray(first.read_bytes())
    harmed[HEADER_BYTES + 20 + HEADER_BYTES + 3] ^= 1
    first.write_bytes(harmed)
    found, after = [], 0
    while page := spool.read(after, 10, 10**6):
        found += [r.payload.decode().strip("_") for r in page]
        after = page[-1].seq
    assert found == ["1.0", "1.2", *expected(2)]
    assert spool.counters["records_damaged"] >= 1 and "record 2" in spool.lost[0]
    spool.close()


# ---- cut files -------------------------------------------------------------------------------------------------------


def test_when_the_file_is_cut_at_any_byte_expect_all_whole_batches_and_appending_goes_on(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    spool = opened(origin)
    ends = [0]
    for number in (1, 2, 3):
        spool.append(batch(number, size=4, count=2))
        ends.append(spool.size)
    spool.close()
    (file,) = origin.glob("*.wsp")
    data = file.read_bytes()
    for length in range(len(data) + 1):
        folder = tmp_path / "cut"
        shutil.copytree(origin, folder)
        (folder / file.name).write_bytes(data[:length])
        spool = opened(folder)
        whole = sum(end <= length for end in ends[1:])
        assert payloads(spool) == expected(*range(1, whole + 1), count=2)
        assert bool(spool.lost) == (length not in ends)
        spool.append(batch(9, count=1))
        assert payloads(spool)[-1:] == ["9.0"] and spool.last == whole * 2 + 1
        spool.close()
        again = opened(folder)
        assert again.lost == [] and again.last == whole * 2 + 1
        again.close()
        shutil.rmtree(folder)


@pytest.mark.parametrize("tail", ["zeros", "old bytes", "garbage"])
@pytest.mark.parametrize("lost", [1, 30, 100, 4096])
def test_when_the_tail_is_overwritten_expect_what_was_before_it(tmp_path: Path, tail: str, lost: int) -> None:
    spool = opened(tmp_path)
    for number in range(60):
        spool.append(batch(number))
    spool.close()
    (file,) = tmp_path.glob("*.wsp")
    data = file.read_bytes()
    assert len(data) > 2 * 4096
    filler = {"zeros": bytes(lost), "old bytes": data[:lost], "garbage": b"\xa5" * lost}[tail]
    file.write_bytes(data[:-lost] + filler)
    spool = opened(tmp_path)
    whole = (len(data) - lost) // (len(data) // 60)
    got = payloads(spool)
    assert len(got) % 3 == 0 and got == expected(*range(60))[: len(got)]
    assert len(got) >= 3 * (whole - 1) and len(spool.lost) == 1
    spool.append(batch(99))
    assert payloads(spool)[-3:] == expected(99)
    spool.close()


# ---- a process that ends, a disk that refuses, at every operation ----------------------------------------------------

SMALL = SpoolLimits(max_bytes=1200, segment_bytes=250, when_full=WhenFull.DROP_OLDEST)


def run_until_killed(folder: Path, files: FaultyFiles, batches: range) -> list[int]:
    """Append until the process dies; returns the batches that were reported as stored."""
    stored = []
    spool = None
    try:
        spool = opened(folder, SMALL, files)
        for number in batches:
            spool.append(batch(number))
            stored.append(number)
        spool.close()
    except Killed:
        if spool is not None:
            killed(spool)
    return stored


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_when_killed_at_any_operation_expect_every_reported_batch_and_no_half_one(tmp_path: Path, share: float) -> None:
    total = FaultyFiles()
    run_until_killed(tmp_path / "dry", total, range(12))
    assert total.operations > 40 and "remove" in total.log and "replace" in total.log
    for k in range(1, total.operations + 1):
        folder = tmp_path / f"k{k}"
        stored = run_until_killed(folder, FaultyFiles(at=k, kill=True, share=share), range(12))
        spool = opened(folder, SMALL)
        got = payloads(spool)
        numbers = [int(text.split(".")[0]) for text in got[::3]]
        assert got == expected(*numbers), f"half a batch after operation {k}"
        dropped = numbers[0] if numbers else 0
        assert numbers == list(range(dropped, dropped + len(numbers)))
        # What was reported is there, or was dropped as the oldest; one more may be there that nobody heard of.
        assert len(numbers) >= 1 or not stored
        assert (numbers[-1] if numbers else -1) in (len(stored) - 1, len(stored))
        assert spool.append(batch(99))[0] == spool.last - 2
        spool.close()


def test_when_the_disk_is_full_at_any_operation_expect_a_reason_and_the_rest_unharmed(tmp_path: Path) -> None:
    total = FaultyFiles()
    run_until_killed(tmp_path / "dry", total, range(6))
    opening = len(opened(tmp_path / "count", SMALL, counting := FaultyFiles()).lost) or counting.operations
    for k in range(opening + 1, total.operations + 1):
        files = FaultyFiles(at=k)
        folder = tmp_path / f"k{k}"
        spool = opened(folder, SMALL, files)
        stored, refusals = [], []
        for number in range(6):
            try:
                spool.append(batch(number))
                stored.append(number)
            except SpoolFullError as error:
                refusals.append(error.why)
        assert len(stored) >= 5 and set(refusals) <= {Full.DISK}
        got = payloads(spool)
        spool.close()
        again = opened(folder, SMALL)
        assert payloads(again) == got == expected(*stored)[-len(got) :]
        assert again.lost == []
        again.close()


def test_when_the_disk_stays_full_expect_refusal_each_time_and_recovery_when_it_is_not(tmp_path: Path) -> None:
    files = FaultyFiles()
    spool = opened(tmp_path, WIDE, files)
    spool.append(batch(1))
    files.at, files.every = files.operations + 1, True
    for _ in range(3):
        with pytest.raises(SpoolFullError):
            spool.append(batch(2))
    assert payloads(spool) == expected(1)
    files.at = 0
    spool.append(batch(3))
    assert payloads(spool) == expected(1, 3)
    spool.close()
    assert payloads(opened(tmp_path)) == expected(1, 3)


def test_when_free_space_is_below_the_bound_expect_refusal_with_the_numbers(tmp_path: Path) -> None:
    files = FaultyFiles()
    files.free = 5_000_000
    spool = opened(tmp_path, SpoolLimits(10**9, 10**8, min_free_bytes=10_000_000), files)
    with pytest.raises(SpoolFullError, match=r"5.0 MB free .* at least 10.0") as caught:
        spool.append(batch(1))
    assert caught.value.why is Full.DISK


# ---- bounds ----------------------------------------------------------------------------------------------------------


def filled(folder: Path, **changes: object) -> tuple[Spool, int]:
    """A bounded spool, and the number of the batch that found no room (or 30)."""
    limits = SpoolLimits(**({"max_bytes": 2000, "segment_bytes": 400} | changes))  # type: ignore[arg-type]
    spool = opened(folder, limits)
    for number in range(30):
        try:
            spool.append(batch(number))
        except SpoolFullError as error:
            return spool, number if error.why is Full.BOUND else -1
    return spool, 30


def test_when_the_bound_is_reached_expect_to_stop_with_a_reason(tmp_path: Path) -> None:
    spool, refused = filled(tmp_path)
    assert 5 < refused < 12 and spool.size <= 2000
    assert payloads(spool) == expected(*range(refused))


def test_when_the_oldest_may_go_expect_whole_batches_gone_and_counted(tmp_path: Path) -> None:
    spool, refused = filled(tmp_path, when_full=WhenFull.DROP_OLDEST)
    assert refused == 30 and spool.size <= 2000 and spool.last == 90
    got = payloads(spool)
    assert got == expected(*range(30))[-len(got) :] and len(got) % 3 == 0
    assert spool.counters["transitions_dropped"] == 90 - len(got)
    assert spool.counters["episodes_dropped_oldest"] == 30 - len(got) // 3
    assert spool.first == 90 - len(got) + 1
    spool.close()
    again = opened(tmp_path, spool.limits)
    assert (again.counters["transitions_dropped"], again.last, payloads(again)) == (90 - len(got), 90, got)


def test_when_acknowledged_may_go_expect_room_after_the_acknowledgement_only(tmp_path: Path) -> None:
    spool, refused = filled(tmp_path, keep_acknowledged=False)
    spool.acknowledge(3 * refused)
    for number in range(refused, refused + 4):
        spool.append(batch(number))
    assert spool.counters["transitions_dropped"] == 0 and spool.counters["transitions_released"] > 0
    assert payloads(spool)[-3:] == expected(refused + 3)


def test_when_a_batch_is_larger_than_the_spool_expect_refusal_and_nothing_dropped_for_it(tmp_path: Path) -> None:
    spool, _ = filled(tmp_path, when_full=WhenFull.DROP_OLDEST)
    before = payloads(spool)
    with pytest.raises(SpoolFullError):
        spool.append(batch(50, size=3000))
    assert payloads(spool) == before


def test_when_a_learner_has_what_the_disk_lost_expect_its_numbers_never_given_again(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(batch(1))
    spool.skip_to(10)
    assert spool.append(batch(2)) == (11, 13)
    spool.close()
    again = opened(tmp_path)
    assert again.last == 13 and [r.seq for r in again.read(3, 10, 10**6)] == [11, 12, 13]


def test_when_segments_do_not_fit_the_bound_expect_refusal() -> None:
    with pytest.raises(ValueError, match="quarter"):
        SpoolLimits(max_bytes=100, segment_bytes=50)
