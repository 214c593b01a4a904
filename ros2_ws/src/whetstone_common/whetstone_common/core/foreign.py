# SPDX-License-Identifier: Apache-2.0
"""Files that somebody else wrote: a schema for what they say, and one sentence for what is wrong with them.

Every kind of file (dataset, recording, robot file, model directory) is opened inside `reading`, with the error class of
that kind. Libraries raise what they like on damaged bytes; here it becomes one sentence that begins with the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

_SHOWN_PROBLEMS, _SHOWN_CHARACTERS = 3, 160
_LFS_POINTER = b"version https://git-lfs"


# Words of ours for the kinds of complaint that speak of Python's types.
_TABLE, _NUMBER, _WHOLE = "expected keys with values", "expected a finite number", "expected a whole number"
_EXPECTED = {
    "dict_type": _TABLE, "model_type": _TABLE, "model_attributes_type": _TABLE, "list_type": "expected a list",
    "string_type": "expected text", "float_type": _NUMBER, "finite_number": _NUMBER, "int_type": _WHOLE,
    "int_parsing": _WHOLE, "float_parsing": _NUMBER, "bool_type": "expected true or false",
    "string_pattern_mismatch": "expected the name of a topic, such as /camera/front/image_raw",
    "string_too_short": "expected text that is not empty",
}  # fmt: skip


class SchemaError(ValueError):
    """Content that does not follow its schema; the text names the key."""


class StrictModel(BaseModel):
    """Content of a file of ours: all keys are known, types are not converted, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class OpenModel(StrictModel):
    """Content of which only some keys concern us."""

    model_config = ConfigDict(extra="ignore")


def _all_different(topics: dict[str, str]) -> dict[str, str]:
    for topic in topics.values():
        names = [name for name, other in topics.items() if other.lstrip("/") == topic.lstrip("/")]
        if len(names) > 1:
            raise ValueError(f"{' and '.join(names)} have one topic, {topic}: give each camera its own")
    return topics


Name = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0.0)]
Topic = Annotated[str, Field(pattern=r"^~?/?[A-Za-z_][A-Za-z0-9_/]*$")]
CameraTopics = Annotated[dict[Name, Topic], AfterValidator(_all_different)]

S = TypeVar("S", bound=BaseModel)


def parsed(schema: type[S], content: Any) -> S:
    """Content as the schema describes it.

    Raises:
        SchemaError: A key is missing, unknown, or its value is of another type or out of range.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise SchemaError(_problems(error)) from error


@contextmanager
def reading(path: Path, error: type[ValueError], what: str = "") -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into one sentence.

    Args:
        path: What is read; the sentence begins with it.
        error: Class of the kind of file. One that is raised inside passes unchanged.
        what: Words before the path, such as the kind of the file.
    """
    try:
        yield
    except error:
        raise
    except Exception as found:
        raise error(f"{what} {path}: {_complaint(path, found)}".lstrip()) from found


def text_of(path: Path) -> str:
    """Text of a file.

    Raises:
        SchemaError: It is not UTF-8.
        OSError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise SchemaError(f"it is not UTF-8 text, byte {error.start} is 0x{byte:02x}") from error


def read_json(path: Path, schema: type[S], error: type[ValueError]) -> S:
    """A JSON file that follows a schema; raises `error` with the file and the key otherwise."""
    with reading(path, error):
        return parsed(schema, json.loads(text_of(path)))


def read_yaml(path: Path, schema: type[S], error: type[ValueError]) -> S:
    """A YAML file that follows a schema; raises `error` with the file and the key otherwise."""
    with reading(path, error):
        return parsed(schema, yaml.safe_load(text_of(path)))


def place(location: tuple[int | str, ...]) -> str:
    """Way to a value, as `limits.step_rad[2]`."""
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return parts.removeprefix(".")


def shortened(value: object) -> str:
    """A value for a sentence: on one line, and not a page of it."""
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _problems(error: ValidationError) -> str:
    found = [_problem(entry) for entry in error.errors(include_url=False)]
    more = len(found) - _SHOWN_PROBLEMS
    return "; ".join(found[:_SHOWN_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")


def _problem(entry: Any) -> str:
    where, kind, text = place(entry["loc"]), entry["type"], entry["msg"]
    if kind == "missing":
        return f"the key {where} is missing"
    if kind == "extra_forbidden":
        return f"the key {where} is unknown"
    if kind == "value_error":
        text = text.removeprefix("Value error, ")
        return f"{where}: {text}" if where else text
    expected = _EXPECTED.get(kind) or text.replace("Input should be", "expected")
    return f"{where or 'the content'} is {shortened(repr(entry['input']))}, {expected}"


def _complaint(path: Path, error: Exception) -> str:
    """What is wrong with a file, without its name."""
    if isinstance(error, FileNotFoundError):
        # A library that opens files by itself may not say which one.
        is_own = error.filename is None or str(error.filename) == str(path)
        return "there is no such file" if is_own else f"{error.filename} is missing"
    if _is_lfs_pointer(path):
        return "it is a pointer of Git LFS and not the file itself; fetch that with git lfs pull"
    if isinstance(error, SchemaError):
        return str(error)
    if said := getattr(error, "strerror", None):  # of the system, and of FFmpeg
        return f"it cannot be read: {said}"
    kinds = {json.JSONDecodeError: "it is not JSON: ", yaml.YAMLError: "it is not YAML: "}
    prefix = next((words for kind, words in kinds.items() if isinstance(error, kind)), "it cannot be read: ")
    if isinstance(error, EOFError) or type(error).__name__ == "EndOfFile":  # mcap has one of its own
        return f"{prefix}it ends too early"
    return prefix + (shortened(error) or type(error).__name__)


def _is_lfs_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError:
        return False
