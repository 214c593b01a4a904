# SPDX-License-Identifier: Apache-2.0
import pytest

from fakes.rl_files import FaultyFiles, Killed
from rl_learner.core.versions import VersionCounter


def test_when_it_is_opened_again_expect_versions_to_grow_on(tmp_path):
    book = VersionCounter(tmp_path / "run" / "version.json")
    assert [book.next(), book.next()] == [1, 2]
    again = VersionCounter(tmp_path / "run" / "version.json")
    assert (again.last, again.next(), again.next(least=10)) == (2, 3, 10)


def test_when_the_process_dies_at_any_operation_expect_no_version_twice(tmp_path):
    for at in range(1, 11):
        path = tmp_path / f"{at}.json"
        given = VersionCounter(path).next()
        with pytest.raises(Killed):
            VersionCounter(path, FaultyFiles(at=at, kill=True)).next()
        assert VersionCounter(path).next() > given


def test_when_the_file_was_tampered_with_expect_a_refusal(tmp_path):
    (tmp_path / "v.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="version"):
        VersionCounter(tmp_path / "v.json")


def test_when_one_of_its_two_files_is_damaged_expect_the_version_from_the_other(tmp_path):
    for name in ("v.json", "v.second.json"):
        folder = tmp_path / name
        last = VersionCounter(folder / "v.json").next()
        data = bytearray((folder / name).read_bytes())
        data[data.index(b"1")] ^= 1
        (folder / name).write_bytes(data)
        assert VersionCounter(folder / "v.json").next() == last + 1
