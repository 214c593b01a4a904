# SPDX-License-Identifier: Apache-2.0
"""What pages do with recordings: another outcome, deleted, restored, exported; no recording is ever changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from experience.core.lerobot_export.frames import episode_of
from experience.core.recording.label import label_file
from experience.core.recording.reader import RecordingError, metadata, recorded_metadata
from fakes.lerobot_files import JOINTS, panda_dataset
from fakes.recordings import recording
from harness.until import until
from operator_console.core.commands import CommandRefusedError
from operator_console.core.curation import AS_RECORDED
from operator_console.core.library import DELETED
from operator_console.core.playback import PlaybackError
from operator_console.nodes.recording_desk import RecordingDesk


def desk_of(folder: Path, told: list[str] | None = None) -> RecordingDesk:
    notes = told if told is not None else []
    folders = [folder / "recordings", folder / "out"]
    return RecordingDesk(folders, folder / "out", "sim_panda", lambda what, text: notes.append(f"{what}: {text}"))


def digests(folder: Path) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.mcap")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        recording(tmp_path / "recordings" / f"{name}.mcap", range(ord(name) - ord("a") + 5))
    return tmp_path


def test_when_an_outcome_is_changed_expect_every_reader_to_see_it_and_the_recording_to_stay(folder: Path) -> None:
    desk, recordings, before = desk_of(folder), folder / "recordings", digests(folder)
    assert desk.relabel(str(recordings), ["a.mcap", "b.mcap"], "failed") == "2 episodes: failed"
    assert metadata(recordings / "a.mcap")["outcome"] == "failed"
    assert recorded_metadata(recordings / "a.mcap")["outcome"] == "succeeded"
    assert not episode_of(recordings / "a.mcap", JOINTS).success
    assert episode_of(recordings / "c.mcap", JOINTS).success
    assert digests(folder) == before
    desk.relabel(str(recordings), ["a.mcap"], AS_RECORDED)
    assert metadata(recordings / "a.mcap")["outcome"] == "succeeded"


def test_when_an_episode_is_trimmed_expect_every_reader_to_see_those_steps_alone_and_the_recording_to_stay(
    folder: Path,
) -> None:
    desk, recordings, before = desk_of(folder), folder / "recordings", digests(folder)
    whole = episode_of(recordings / "b.mcap", JOINTS).frames
    assert desk.trim(str(recordings), ["b.mcap"], 1, 3) == "1 episode: steps 2 to 4 count"
    kept = episode_of(recordings / "b.mcap", JOINTS).frames
    assert [frame.action.tolist() for frame in kept] == [frame.action.tolist() for frame in whole[1:4]]
    assert desk.relabel(str(recordings), ["b.mcap"], "failed") == "1 episode: failed"
    assert len(episode_of(recordings / "b.mcap", JOINTS).frames) == 3, "another outcome leaves the steps as they are"
    desk.trim(str(recordings), ["b.mcap"], 0, None)
    assert len(episode_of(recordings / "b.mcap", JOINTS).frames) == len(whole)
    desk.relabel(str(recordings), ["b.mcap"], AS_RECORDED)
    assert not label_file(recordings / "b.mcap").exists() and digests(folder) == before


@pytest.mark.parametrize(
    ("first", "last", "words"), [(2, 9, "b.mcap: it has steps 1 to 6, asked for 3 to 10"), (3, 2, "steps 3 to 2")]
)
def test_when_steps_are_none_of_the_episode_expect_refusal_and_no_label(
    folder: Path, first: int, last: int, words: str
) -> None:
    desk, recordings = desk_of(folder), folder / "recordings"
    with pytest.raises(CommandRefusedError, match=words):
        desk.trim(str(recordings), ["b.mcap"], first, last)
    assert not list(recordings.glob("*.json"))


@pytest.mark.parametrize("text", ["{}", '{"outcome": ""}', '{"first_step": 0}', '{"first_step": -1}'])
def test_when_a_label_says_nothing_or_what_cannot_be_expect_a_sentence_that_names_it(folder: Path, text: str) -> None:
    path = folder / "recordings" / "a.mcap"
    label_file(path).write_text(text, encoding="utf-8")
    with pytest.raises(RecordingError, match=r"a\.mcap\.label\.json"):
        episode_of(path, JOINTS)


def test_when_a_label_keeps_no_step_with_images_expect_a_sentence_that_names_the_recording(folder: Path) -> None:
    path = folder / "recordings" / "a.mcap"
    label_file(path).write_text('{"first_step": 99}', encoding="utf-8")
    with pytest.raises(RecordingError, match=r"a\.mcap: its label keeps none of the steps 0 to 4"):
        episode_of(path, JOINTS)


def test_when_a_recording_is_deleted_and_restored_expect_it_whole_with_its_label(folder: Path) -> None:
    desk, recordings, before = desk_of(folder), folder / "recordings", digests(folder)
    desk.relabel(str(recordings), ["a.mcap"], "failed")
    desk.delete(str(recordings), ["a.mcap", "b.mcap"])
    assert [path.name for path in recordings.glob("*.mcap")] == ["c.mcap"]
    assert digests(folder) == before
    desk.restore(str(recordings), [f"{DELETED}/a.mcap"])
    assert metadata(recordings / "a.mcap")["outcome"] == "failed"
    assert sorted(path.name for path in recordings.glob("*.mcap")) == ["a.mcap", "c.mcap"]
    assert digests(folder) == before


def test_when_another_recording_has_the_name_expect_none_of_them_overwritten(folder: Path) -> None:
    desk, recordings = desk_of(folder), folder / "recordings"
    desk.delete(str(recordings), ["a.mcap"])
    recording(recordings / "a.mcap", range(20))
    before = digests(folder)
    with pytest.raises(CommandRefusedError, match="exists"):
        desk.restore(str(recordings), [f"{DELETED}/a.mcap"])
    with pytest.raises(CommandRefusedError, match="exists"):
        desk.delete(str(recordings), ["a.mcap"])
    assert digests(folder) == before


@pytest.mark.parametrize(
    ("names", "said"),
    [([], "no episode is ticked"), (["d.mcap"], "no episode 'd.mcap'"), (["../recordings/a.mcap"], "no episode")],
)
def test_when_names_are_none_of_the_list_expect_a_sentence_and_nothing_done(
    folder: Path, names: list[str], said: str
) -> None:
    with pytest.raises(CommandRefusedError, match=said):
        desk_of(folder).delete(str(folder / "recordings"), names)
    assert not (folder / "recordings" / DELETED).exists()


def test_when_it_is_a_dataset_expect_its_episodes_shown_and_not_changed(folder: Path) -> None:
    root, desk = panda_dataset(folder / "out" / "set", lengths=(4, 7)), desk_of(folder)
    assert len(desk.playback(str(root), "1")) == 7
    assert desk.picture(str(root), "1", "front", 6) is not None
    assert desk.picture(str(root), "1", "front", 7) is None
    with pytest.raises(CommandRefusedError, match="export them again"):
        desk.delete(str(root), ["1"])


def test_when_a_damaged_recording_is_opened_or_judged_expect_a_sentence(folder: Path) -> None:
    path, desk = folder / "recordings" / "a.mcap", desk_of(folder)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(PlaybackError, match=r"a\.mcap: it cannot be read"):
        desk.playback(str(path.parent), "a.mcap")
    with pytest.raises(CommandRefusedError, match="cannot be read"):
        desk.relabel(str(path.parent), ["a.mcap"], "failed")
    desk.delete(str(path.parent), ["a.mcap"])


def test_when_some_are_exported_expect_a_dataset_of_those_and_a_line_in_the_log(folder: Path) -> None:
    told: list[str] = []
    desk, recordings = desk_of(folder, told), folder / "recordings"
    desk.relabel(str(recordings), ["c.mcap"], "failed")
    desk.export(str(recordings), ["a.mcap", "c.mcap"], "mine")
    with pytest.raises(CommandRefusedError, match="one at a time"):
        desk.export(str(recordings), ["b.mcap"], "other")
    until(lambda: desk.update() or told, 120.0, "the export has ended")
    assert "2 of 2 episodes" in told[0]
    row = {row.name: (row.steps, row.outcome) for row in _listed(desk, folder / "out" / "mine")}
    assert row == {"0": (5, "succeeded"), "1": (7, "failed")}
    with pytest.raises(CommandRefusedError, match="choose another name"):
        desk.export(str(recordings), ["a.mcap"], "mine")


@pytest.mark.parametrize("name", ["", "../elsewhere", ".hidden"])
def test_when_a_dataset_has_no_name_of_a_folder_expect_a_sentence(folder: Path, name: str) -> None:
    with pytest.raises(CommandRefusedError, match="must be the name of a folder"):
        desk_of(folder).export(str(folder / "recordings"), ["a.mcap"], name)


def _listed(desk: RecordingDesk, path: Path) -> tuple:
    collection = desk.library.collection(str(path))
    assert collection is not None
    return desk.library.listing(collection).rows
