# SPDX-License-Identifier: Apache-2.0
"""Outputs are tried before the work, appear as a whole, and never take the place of what is another's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from whetstone_common.core.outputs import (
    OutputError,
    check_file,
    check_folder,
    check_new_folder,
    new_folder,
    whole_file,
)

CHECKS = [check_file, check_folder, check_new_folder]


@pytest.mark.parametrize("check", CHECKS)
def test_when_an_output_can_be_made_expect_nothing_left_of_the_try(tmp_path: Path, check: Callable[..., None]) -> None:
    check(tmp_path / "deep" / "down" / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("place", ["file/out", "file/deep/out"])
def test_when_a_file_stands_in_the_way_expect_one_sentence_with_the_path(
    tmp_path: Path, check: Callable[..., None], place: str
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"cannot write .*out: .*file is no folder; choose another place"):
        check(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("check", CHECKS)
def test_when_the_kernel_refuses_expect_its_reason(check: Callable[..., None]) -> None:
    with pytest.raises(OutputError, match="/proc/self/nothing/here"):
        check(Path("/proc/self/nothing/here"))


def test_when_a_folder_has_the_name_of_a_file_expect_refusal(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder"):
        check_file(tmp_path)


def test_when_a_file_is_there_expect_it_as_it_was_after_the_try(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("old")
    check_file(tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text() == "old"


def test_when_a_new_folder_is_there_already_expect_refusal(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        check_new_folder(tmp_path)
    with pytest.raises(FileExistsError, match="exists already"), new_folder(tmp_path):
        pass


def test_when_a_file_was_written_expect_it_under_its_name_alone(tmp_path: Path) -> None:
    neighbour = tmp_path / "out.json.part"
    neighbour.write_text("mine")
    with whole_file(tmp_path / "out.json") as partial:
        partial.write_text("new")
        assert not (tmp_path / "out.json").exists() and partial.suffix == ".json"
    assert (tmp_path / "out.json").read_text() == "new"
    assert neighbour.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


def test_when_writing_a_file_fails_expect_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("old")

    def write() -> None:
        with whole_file(tmp_path / "out.json") as partial:
            partial.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert (tmp_path / "out.json").read_text() == "old"


def test_when_a_file_is_a_link_expect_what_it_points_to_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    with whole_file(tmp_path / "link.json") as partial:
        partial.write_text("new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


def test_when_a_file_is_a_pipe_expect_it_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        check_file(pipe)
        with whole_file(pipe) as partial:
            partial.write_text("new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_when_a_folder_was_filled_expect_it_under_its_name_and_a_neighbour_as_it_was(tmp_path: Path) -> None:
    neighbour = tmp_path / "model.part"
    neighbour.mkdir()
    (neighbour / "mine").touch()
    with new_folder(tmp_path / "model") as partial:
        (partial / "weights").touch()
        assert not (tmp_path / "model").exists()
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["weights"]
    assert (neighbour / "mine").exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_when_filling_a_folder_fails_expect_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with new_folder(tmp_path / "deep" / "model") as partial:
            (partial / "weights").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fill()
    assert list((tmp_path / "deep").iterdir()) == []
