# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from experience.core.recording import reader
from experience.core.recording.definitions import DefinitionError, complete, dependencies
from experience.core.recording.episode_file import Channel, EpisodeFile, Message, recording_name
from experience.core.recording.recorder import Recorder, RecorderLimits
from experience.core.recording.storage import Storage

CHANNELS = [
    Channel("/instruction", "std_msgs/msg/String", "string data\n", "- depth: 1\n"),
    Channel("/mark", "std_msgs/msg/String", "string data\n"),
]


def string_cdr(text: str) -> bytes:
    """Little-endian CDR of std_msgs/String."""
    data = text.encode() + b"\0"
    return b"\x00\x01\x00\x00" + len(data).to_bytes(4, "little") + data


def say(topic: str, text: str, time_ns: int) -> Message:
    return Message(topic, string_cdr(text), time_ns)


def recorder(folder: Path, **kwargs: frozenset[str]) -> Recorder:
    return Recorder(lambda stem: EpisodeFile(folder / f"{stem}.mcap", CHANNELS), RecorderLimits(1.0, 0.3), **kwargs)


def texts(path: Path) -> list[str]:
    return [message.data.data for message in reader.messages(path)]


def make_share(root: Path) -> Path:
    for name, text in {
        "a/msg/Outer.msg": "# x\nInner[] inners  # many\nb/Other other\nuint8 CONSTANT=3\nfloat64[3] p\nstring<=5 s\n",
        "a/msg/Inner.msg": "builtin_interfaces/Time stamp\n",
        "b/msg/Other.msg": "a/Inner inner\nbool flag false\n",
        "builtin_interfaces/msg/Time.msg": "int32 sec\nuint32 nanosec\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_when_a_type_contains_others_expect_each_once(tmp_path: Path) -> None:
    share = make_share(tmp_path)
    text = complete("a/msg/Outer", lambda package: share / package)
    assert [line for line in text.splitlines() if line.startswith("MSG:")] == [
        "MSG: a/Inner",
        "MSG: b/Other",
        "MSG: builtin_interfaces/Time",
    ]


def test_when_fields_are_builtin_or_constants_expect_no_dependency() -> None:
    assert dependencies("uint8 A=1\nstring<=3[] s\nfloat32[<=4] f\n# b/X y\nstring t 'b/Z z'", "a") == []


def test_when_a_definition_is_not_installed_expect_its_name(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="a/Missing"):
        complete("a/msg/Missing", lambda package: tmp_path / package)


def test_when_an_episode_was_recorded_expect_it_reads_back_with_what_came_before_and_after(tmp_path: Path) -> None:
    record = recorder(tmp_path)
    record.message(say("/mark", "stale", 1), now_s=0.0)
    record.message(say("/mark", "first frame", 2), now_s=4.9)
    record.started("e1", now_s=5.0)
    record.message(say("/mark", "inside", 3), now_s=6.0)
    record.ended({"outcome": "succeeded", "task": "stack"}, now_s=7.0)
    record.message(say("/mark", "late", 4), now_s=7.1)
    assert record.tick(7.2) is None
    path = record.tick(7.4)
    assert path == tmp_path / "e1.mcap"
    assert texts(path) == ["first frame", "inside", "late"]
    assert reader.metadata(path)["task"] == "stack"
    assert not list(tmp_path.glob("*.part"))


def test_when_a_latched_topic_spoke_long_ago_expect_it_opens_every_file(tmp_path: Path) -> None:
    record = recorder(tmp_path, latched=frozenset({"/instruction"}))
    record.message(say("/instruction", "go", 1), now_s=0.0)
    for stem in ("e1", "e2"):
        record.started(stem, now_s=100.0)
        record.ended({"outcome": "failed"}, now_s=101.0)
        record.tick(102.0)
        assert texts(tmp_path / f"{stem}.mcap") == ["go"]


def test_when_the_outcome_is_not_wanted_expect_no_file(tmp_path: Path) -> None:
    record = recorder(tmp_path, outcomes=frozenset({"succeeded"}))
    record.started("e1", now_s=0.0)
    record.ended({"outcome": "timed_out"}, now_s=1.0)
    assert record.tick(9.0) is None
    assert not list(tmp_path.iterdir())


def test_when_the_recorder_closes_mid_episode_expect_no_half_file(tmp_path: Path) -> None:
    record = recorder(tmp_path)
    record.started("e1", now_s=0.0)
    record.message(say("/mark", "x", 1), now_s=0.1)
    assert record.close() is None
    assert not list(tmp_path.iterdir())


def test_when_the_next_episode_starts_at_once_expect_the_first_is_kept(tmp_path: Path) -> None:
    record = recorder(tmp_path)
    record.started("e1", now_s=0.0)
    record.ended({"outcome": "failed"}, now_s=1.0)
    assert record.started("e2", now_s=1.01) == tmp_path / "e1.mcap"


@pytest.mark.parametrize("content", [b"", b"not an mcap file at all"])
def test_when_the_file_is_no_recording_expect_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(content)
    with pytest.raises(reader.RecordingError, match=r"x\.mcap"):
        reader.metadata(path)


def full_disk(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """A disk that refuses at one step of a recording."""

    def refuse(*_args: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EpisodeFile, method, refuse)


@pytest.mark.parametrize("step", ["__init__", "write", "finish"])
def test_when_the_disk_refuses_expect_the_episode_lost_with_its_reason_and_the_next_one_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    record = recorder(tmp_path)
    with monkeypatch.context() as full:
        full_disk(full, step)
        record.started("e1", now_s=0.0)
        record.message(say("/mark", "x", 1), now_s=0.1)
        record.ended({"outcome": "succeeded"}, now_s=1.0)
        assert record.tick(2.0) is None
    assert record.lost == 1
    assert "No space left on device" in record.problem
    assert not list(tmp_path.iterdir())
    record.started("e2", now_s=3.0)
    record.ended({"outcome": "succeeded"}, now_s=4.0)
    assert record.tick(5.0) == tmp_path / "e2.mcap"
    assert record.lost == 1


def test_when_there_is_a_recording_of_that_name_expect_it_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "e1.mcap").write_text("mine")
    record = recorder(tmp_path)
    record.started("e1", now_s=0.0)
    record.ended({"outcome": "succeeded"}, now_s=1.0)
    assert record.tick(2.0) is None
    assert "exists already" in record.problem
    assert (tmp_path / "e1.mcap").read_text() == "mine"


def test_when_an_episode_is_abandoned_expect_no_file_and_no_loss_of_the_disk(tmp_path: Path) -> None:
    record = recorder(tmp_path)
    record.started("e1", now_s=0.0)
    record.abandon()
    assert (record.is_busy, record.lost) == (False, 0)
    assert not list(tmp_path.iterdir())


def test_when_episodes_are_numbered_expect_names_that_tell_them_apart() -> None:
    assert recording_name("stack", 17, 2) == "stack_17_000002.mcap"


def test_when_there_is_room_expect_no_problem_and_the_folder(tmp_path: Path) -> None:
    assert Storage(tmp_path / "deep" / "mcap", 1).problem() == ""
    assert (tmp_path / "deep" / "mcap").is_dir()


def test_when_there_is_too_little_room_expect_what_is_free_and_what_is_needed(tmp_path: Path) -> None:
    problem = Storage(tmp_path, 10**18).problem()
    assert "MB free in" in problem and "at least 1000000000000.0 MB needed" in problem


def test_when_a_recording_was_larger_than_what_is_free_expect_the_next_one_to_need_as_much(tmp_path: Path) -> None:
    storage = Storage(tmp_path, 0)
    assert storage.problem() == ""
    storage.note(10**18)
    assert "needed" in storage.problem()


def test_when_the_folder_cannot_be_made_expect_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in Storage(tmp_path / "file" / "mcap", 0).problem()
