# SPDX-License-Identifier: Apache-2.0
"""What the command line says, where it cannot be said, and what it says of errors."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from whetstone_cli.cli.errors import UserError, sentence_of
from whetstone_cli.cli.streams import LenientStream

DEADLINE_S = 60.0


def run_cli(*words: str, stdout: int = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "whetstone_cli.cli.main", *words],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        timeout=DEADLINE_S,
    )


def test_when_the_disk_is_full_expect_writing_to_go_on() -> None:
    stream = LenientStream(open("/dev/full", "w", encoding="utf-8"))  # noqa: SIM115
    assert stream.write("a line\n") == 7
    stream.flush()
    assert os.readlink(f"/proc/self/fd/{stream.fileno()}") == os.devnull
    stream.close()


def test_when_a_letter_does_not_exist_there_expect_a_question_mark() -> None:
    raw = io.BytesIO()
    stream = LenientStream(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("2 × 3\n")
    stream.flush()
    assert raw.getvalue() == b"2 ? 3\n"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("wrong\n\nDo it."), "wrong\n\nDo it."),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "/a/b: No space left on device"),
        (KeyError("joint"), "KeyError: 'joint'"),
        (ValueError(), "ValueError: no message"),
    ],
)
def test_when_a_command_fails_expect_a_sentence(error: Exception, sentence: str) -> None:
    assert sentence_of(error).startswith(sentence)


def test_when_an_error_is_longer_than_the_screen_is_wide_expect_one_line_of_it() -> None:
    done = run_cli("eval", "--run", "n" * 60, COLUMNS="40")
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 1
    assert f"error: there is no run '{'n' * 60}' in runs" in said.splitlines()


@pytest.mark.parametrize(("words", "has_traceback"), [((), False), (("--debug",), True)])
def test_when_a_file_cannot_be_written_expect_one_sentence_and_a_traceback_only_with_debug(
    tmp_path: Path, words: tuple[str, ...], has_traceback: bool
) -> None:
    (tmp_path / "a.mcap").write_bytes(b"nonsense")
    done = run_cli("export", str(tmp_path), "/dev/null/set", *words)
    assert done.returncode == 1
    assert (b"Traceback" in done.stderr) is has_traceback
    assert (b"error: " in done.stdout) is not has_traceback


def test_when_help_is_asked_for_expect_units_in_square_brackets() -> None:
    assert b"[min]" in run_cli("train", "--help", COLUMNS="200").stdout


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}, {"HOME": ""}]
)
@pytest.mark.parametrize("words", [("--help",), ("export", "/näwhere", "/tmp/x")])
def test_when_the_surroundings_are_poor_expect_the_same_words(words: tuple[str, ...], environment: dict) -> None:
    done = run_cli(*words, **environment)
    assert done.returncode == (0 if words == ("--help",) else 1)
    assert b"Traceback" not in done.stderr
    assert (b"doctor" if words == ("--help",) else b"no .mcap file") in done.stdout


@pytest.mark.parametrize("sink", ["/dev/full", "broken pipe"])
def test_when_nothing_can_be_printed_expect_the_same_exit_code(sink: str) -> None:
    readable, stdout = os.pipe()
    os.close(readable)
    if sink == "/dev/full":
        os.close(stdout)
        stdout = os.open(sink, os.O_WRONLY)
    try:
        done = run_cli("export", "/nowhere", "/tmp/x", stdout=stdout)
    finally:
        os.close(stdout)
    assert done.returncode == 1
    assert done.stderr == b""
