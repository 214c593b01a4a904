# SPDX-License-Identifier: Apache-2.0
"""Files of others: right, or one sentence that begins with the file and names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from whetstone_common.core.foreign import CameraTopics, OpenModel, Positive, StrictModel, read_json, read_yaml, reading


class WrongFileError(ValueError):
    pass


class Arm(StrictModel):
    name: str
    reach_m: Positive
    joints: list[float]
    cameras: CameraTopics | None = None


class Loose(OpenModel):
    name: str


GOOD = '{"name": "a", "reach_m": 1, "joints": [0, 1.5]}'


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "arm.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_when_the_content_follows_the_schema_expect_it(tmp_path: Path) -> None:
    arm = read_json(written(tmp_path, GOOD), Arm, WrongFileError)
    assert (arm.name, arm.reach_m, arm.joints, arm.cameras) == ("a", 1.0, [0.0, 1.5], None)
    assert read_yaml(written(tmp_path, "name: a\nmore: 1\n"), Loose, WrongFileError).name == "a"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"name": "a", "joints": []}', "the key reach_m is missing"),
        (GOOD[:-1] + ', "colour": 1}', "the key colour is unknown"),
        (GOOD.replace("1.5", "true"), r"joints\[1\] is True, expected a finite number"),
        (GOOD.replace("1.5", "NaN"), r"joints\[1\] is nan, expected a finite number"),
        (GOOD.replace('"a"', "3"), "name is 3, expected text"),
        (GOOD.replace(": 1,", ": -1,"), "reach_m is -1, expected greater than 0"),
        (GOOD.replace("1.5]", '1.5], "cameras": {"a": "/t", "b": "/t"}'), "a and b have one topic, /t"),
        ("[1]", r"the content is \[1\], expected keys with values"),
        ('{"name": "a"', "it is not JSON: .*line 1"),
        ("", "it is not JSON"),
        (b"\xff\xfe", "it is not UTF-8 text, byte 0 is 0xff"),
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_when_the_content_is_wrong_expect_file_and_key_in_one_line(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    with pytest.raises(WrongFileError, match=rf"arm\.json: .*{words}") as caught:
        read_json(written(tmp_path, content), Arm, WrongFileError)
    assert "\n" not in str(caught.value)


def test_when_there_is_no_file_or_it_is_a_folder_expect_that_said(tmp_path: Path) -> None:
    with pytest.raises(WrongFileError, match=r"none\.json: there is no such file"):
        read_json(tmp_path / "none.json", Arm, WrongFileError)
    with pytest.raises(WrongFileError, match="Is a directory"):
        read_json(tmp_path, Arm, WrongFileError)


def test_when_a_library_fails_without_a_word_expect_its_kind_of_error(tmp_path: Path) -> None:
    words = r"robot file .*x: it cannot be read: KeyError"
    with pytest.raises(WrongFileError, match=words), reading(tmp_path / "x", WrongFileError, "robot file"):
        raise KeyError
    with pytest.raises(WrongFileError, match="^as it is$"), reading(tmp_path / "x", WrongFileError):
        raise WrongFileError("as it is")


def test_when_yaml_would_build_an_object_expect_refusal(tmp_path: Path) -> None:
    with pytest.raises(WrongFileError, match="it is not YAML"):
        read_yaml(written(tmp_path, "name: !!python/object/apply:os.getcwd []"), Loose, WrongFileError)
