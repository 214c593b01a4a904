# SPDX-License-Identifier: Apache-2.0
"""Worlds of tests do not meet: domain ids by lock, shared memory swept."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from harness import domains
from harness.domains import DomainLock, NoDomainLeftError, ports_of, used_udp_ports
from harness.sweep import in_use, segments, sweep


def test_when_two_locks_are_taken_expect_two_ids(tmp_path: Path) -> None:
    first, second = DomainLock(tmp_path), DomainLock(tmp_path)
    assert first.domain_id != second.domain_id
    first.release()
    second.release()


def test_when_released_expect_the_id_to_be_free_again(tmp_path: Path) -> None:
    first = DomainLock(tmp_path)
    first.release()
    first.release()
    assert DomainLock(tmp_path).domain_id == first.domain_id


def test_when_all_are_taken_expect_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, "_LAST", domains._FIRST)
    monkeypatch.setattr(domains, "used_udp_ports", lambda _table: set())
    lock = DomainLock(tmp_path)
    with pytest.raises(NoDomainLeftError):
        DomainLock(tmp_path)
    lock.release()


def test_when_ports_are_listed_expect_them_as_numbers() -> None:
    table = "  sl  local_address rem_address\n  1: 00000000:26FC 00000000:0000 07\n"
    assert used_udp_ports(table) == {9980}
    assert 9980 in ports_of(10)
    assert max(ports_of(100)) < 32768


def test_when_swept_expect_only_new_orphans_of_the_own_domain_to_go(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    kept = {"fastdds_old", "other_new", "fastdds_port7003", "fastdds_port7003_el", "sem.fastdds_port7003_mutex"}
    swept = {"fastdds_new", "fastdds_new_el", "fastdds_port9911_el", "sem.fastdds_port9911_mutex"}
    for name in kept | swept:
        (tmp_path / name).touch()
    assert sweep({"fastdds_old"}, ports_of(10), tmp_path, proc) == swept
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == kept


def test_when_a_living_process_maps_a_segment_expect_it_to_be_kept(tmp_path: Path) -> None:
    path = Path("/dev/shm") / f"fastrtps_test_{tmp_path.name}"
    path.write_bytes(b"\0" * 4096)
    try:
        with path.open("r+b") as handle, mmap.mmap(handle.fileno(), 4096):
            assert path.name in in_use()
            assert path.name not in sweep(segments() - {path.name}, ())
        assert path.name in sweep(segments() - {path.name}, ())
    finally:
        path.unlink(missing_ok=True)
