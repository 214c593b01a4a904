# SPDX-License-Identifier: Apache-2.0
"""Episodes as the page lists them: recordings and datasets of a disk, and what is damaged among them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from vla_interfaces.msg import Executed

from experience.core.recording.label import Label, label_file, write_label
from fakes.lerobot_files import DATA, FPS, panda_dataset
from fakes.recordings import METADATA, recording
from operator_console.core.library import DELETED, Collection, CollectionKind, Library, ListedEpisode, Listing

KNOWN = {**METADATA, "steps": "6", "task": "pick_place", "duration_s": "0.300000"}


def only(library: Library) -> Collection:
    (collection,) = library.collections()
    return collection


def rows(library: Library) -> tuple[ListedEpisode, ...]:
    return library.listing(only(library)).rows


def test_when_an_episode_was_recorded_expect_what_a_person_asks_of_it(tmp_path: Path) -> None:
    recording(tmp_path / "a.mcap", metadata=KNOWN, actors={0: Executed.POLICY, 1: Executed.POLICY, 2: Executed.HOLD})
    (row,) = rows(Library([tmp_path]))
    assert (row.task, row.instruction, row.outcome) == ("pick_place", METADATA["instruction"], "succeeded")
    assert (row.steps, row.duration_s, row.human_share, row.problem) == (6, 0.3, 0.5, "")


def test_when_a_human_says_otherwise_expect_both_outcomes(tmp_path: Path) -> None:
    path, library = recording(tmp_path / "a.mcap"), Library([tmp_path])
    assert (rows(library)[0].outcome, rows(library)[0].recorded_outcome) == ("succeeded", "")
    write_label(path, Label("failed"))
    assert (rows(library)[0].outcome, rows(library)[0].recorded_outcome) == ("failed", "succeeded")


@pytest.mark.parametrize(("size", "said"), [(0, "ends too early"), (100, "cannot be read")])
def test_when_a_file_is_damaged_expect_a_row_with_a_sentence_beside_the_others(
    tmp_path: Path, size: int, said: str
) -> None:
    recording(tmp_path / "whole.mcap")
    (tmp_path / "broken.mcap").write_bytes(recording(tmp_path / "b.mcap").read_bytes()[:size])
    problems = {row.name: row.problem for row in rows(Library([tmp_path]))}
    assert problems["whole.mcap"] == problems["b.mcap"] == ""
    assert said in problems["broken.mcap"] or "cannot be read" in problems["broken.mcap"]
    assert "\n" not in problems["broken.mcap"]


def test_when_a_label_is_damaged_expect_a_sentence_that_names_it(tmp_path: Path) -> None:
    label_file(recording(tmp_path / "a.mcap")).write_text('{"outcome": "great"}', encoding="utf-8")
    assert "outcome is 'great', allowed: succeeded" in rows(Library([tmp_path]))[0].problem


def test_when_many_files_are_new_expect_some_at_a_look_and_all_in_the_end(tmp_path: Path) -> None:
    first = recording(tmp_path / "0.mcap")
    for number in range(1, 20):
        (tmp_path / f"{number}.mcap").write_bytes(first.read_bytes())
    library = Library([tmp_path])
    looks: list[Listing] = []
    while not looks or looks[-1].unread:
        looks.append(library.listing(only(library)))
    assert [len(look.rows) + look.unread for look in looks] == [20] * len(looks)
    assert 1 < len(looks) <= 20 and len(looks[-1].rows) == 20


def test_when_a_file_is_replaced_expect_it_read_anew(tmp_path: Path) -> None:
    path, library = recording(tmp_path / "a.mcap"), Library([tmp_path])
    assert rows(library)[0].steps == 6
    path.unlink()
    recording(path, range(9))
    assert rows(library)[0].steps == 9


def test_when_folders_lie_below_expect_recordings_and_datasets_the_newest_first(tmp_path: Path) -> None:
    recording(tmp_path / "runs" / "mine" / "recordings" / "a.mcap")
    panda_dataset(tmp_path / "out" / "demos" / "lerobot")
    (tmp_path / "runs" / "mine" / "checkpoints").mkdir()
    os.utime(tmp_path / "out" / "demos" / "lerobot", (1.0, 1.0))
    found = Library([tmp_path / "runs", tmp_path / "out", tmp_path / "missing"]).collections()
    assert [(each.path.relative_to(tmp_path).as_posix(), each.kind) for each in found] == [
        ("runs/mine/recordings", CollectionKind.RECORDINGS),
        ("out/demos/lerobot", CollectionKind.DATASET),
    ]


def test_when_one_folder_lies_in_another_expect_its_episodes_once(tmp_path: Path) -> None:
    recording(tmp_path / "runs" / "recordings" / "a.mcap")
    assert len(Library([tmp_path, tmp_path / "runs"]).collections()) == 1


def test_when_all_recordings_of_a_folder_are_deleted_expect_it_still_listed(tmp_path: Path) -> None:
    (tmp_path / DELETED).mkdir()
    recording(tmp_path / DELETED / "a.mcap")
    (row,) = rows(Library([tmp_path]))
    assert row.is_deleted and row.name == f"{DELETED}/a.mcap"


def test_when_it_is_a_dataset_expect_its_episodes(tmp_path: Path) -> None:
    panda_dataset(tmp_path / "set", lengths=(12, 10), actor=1)
    found = rows(Library([tmp_path]))
    assert [(row.name, row.steps, row.duration_s, row.outcome, row.human_share) for row in found] == [
        ("0", 12, 12 / FPS, "succeeded", 0.0),
        ("1", 10, 10 / FPS, "succeeded", 0.0),
    ]


def test_when_a_dataset_lacks_a_file_expect_a_sentence_that_names_it(tmp_path: Path) -> None:
    (panda_dataset(tmp_path / "set") / DATA).unlink()
    library = Library([tmp_path])
    listing = library.listing(only(library))
    assert listing.rows == () and DATA in listing.problem and "no such file" in listing.problem


def test_when_a_page_asks_for_another_folder_expect_nothing(tmp_path: Path) -> None:
    recording(tmp_path / "mine" / "a.mcap")
    recording(tmp_path / "other" / "b.mcap")
    library = Library([tmp_path / "mine"])
    assert library.collection(str(tmp_path / "other")) is None
    collection = only(library)
    assert library.row(collection, "../other/b.mcap") is None
    assert library.row(collection, "a.mcap") is not None
