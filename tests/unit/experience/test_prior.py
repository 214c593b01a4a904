# SPDX-License-Identifier: Apache-2.0
"""What another run has left is known from the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from experience.core.prior import check_weights, transitions_in, weights_behind, write_prior
from fakes.rl_runs import episode, store


def test_when_a_folder_holds_transitions_expect_all_of_them_in_order(tmp_path: Path) -> None:
    made = [*episode(1), *episode(2)]
    store(tmp_path, made)
    found = list(transitions_in(tmp_path))
    assert [(t.episode, t.episode_step) for t in found] == [(t.episode, t.episode_step) for t in made]


def test_when_there_are_none_expect_the_folder_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no transitions there"):
        list(transitions_in(tmp_path / "nowhere"))


def test_when_prior_data_are_written_expect_them_back_with_the_weights_behind_them(tmp_path: Path) -> None:
    made = [episode(1), episode(2)]
    assert write_prior(tmp_path / "p", made, "abc", 1) == len(made[0]) + len(made[1])
    found = [(t.episode, t.episode_step) for t in transitions_in(tmp_path / "p")]
    assert found == [(t.episode, t.episode_step) for each in made for t in each]
    assert weights_behind(tmp_path / "p") == "abc"
    check_weights(tmp_path / "p", "abc")
    with pytest.raises(ValueError, match="abc, served are def"):
        check_weights(tmp_path / "p", "def")


def test_when_nobody_noted_the_weights_expect_no_comparison(tmp_path: Path) -> None:
    store(tmp_path, episode(1))
    assert weights_behind(tmp_path) == ""
    check_weights(tmp_path, "def")


def test_when_the_work_stops_halfway_expect_no_folder_and_a_second_try_to_work(tmp_path: Path) -> None:
    def broken():
        yield episode(1)
        raise RuntimeError("the model failed")

    with pytest.raises(RuntimeError, match="the model failed"):
        write_prior(tmp_path / "p", broken(), "abc", 1)
    assert not (tmp_path / "p").exists()
    write_prior(tmp_path / "p", [episode(2)], "abc", 1)
    assert {t.episode for t in transitions_in(tmp_path / "p")} == {2}
    with pytest.raises(FileExistsError):
        write_prior(tmp_path / "p", [episode(3)], "abc", 1)


def test_when_there_is_not_one_transition_expect_no_folder_and_a_reader_to_refuse(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="would be empty"):
        write_prior(tmp_path / "p", [[], []], "abc", 1)
    assert not list(tmp_path.iterdir())
    store(tmp_path, [])
    (tmp_path / "transitions").mkdir(exist_ok=True)
    with pytest.raises(ValueError, match="holds no transition"):
        list(transitions_in(tmp_path))


def test_when_a_record_is_damaged_expect_the_others_and_the_file_named(tmp_path: Path) -> None:
    made = [*episode(1), *episode(2)]
    store(tmp_path, made)
    (file,) = (tmp_path / "transitions").glob("*.wsp")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)
    lost: list[str] = []
    assert len(list(transitions_in(tmp_path, lost))) == len(made) - 1
    assert len(lost) == 1 and file.name in lost[0]
