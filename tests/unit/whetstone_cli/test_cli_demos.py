# SPDX-License-Identifier: Apache-2.0
"""`whetstone demos` where no stack is needed: a session's own recordings, and what it says when fewer were kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from vla_interfaces.msg import EpisodeEvent

from experience.core.recording.episode_file import recording_name
from whetstone_cli.cli import demos
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import BrokenOffError, EvalOptions, EvaluationInterrupted
from whetstone_cli.core.report import Evaluation, rows_of
from whetstone_common.core.enums import Outcome

_ENDS = {"+": EpisodeEvent.SUCCEEDED, "-": EpisodeEvent.TIMED_OUT, "x": EpisodeEvent.SUCCEEDED}
_WORDS = {"+": Outcome.SUCCEEDED, "-": Outcome.TIMED_OUT, "x": Outcome.SUCCEEDED}


class Booth:
    """Stands in for a stack that records.

    Attributes:
        signs: Of each episode: + a success, - a failure, x a success that the disk did not take; then no space.
        full: What keeps the recorder from being ready.
        breaks: Whether the stack ends after the last sign.
        interrupted: Whether Ctrl-C comes after it.
    """

    def __init__(self, folder: Path, signs: str) -> None:
        self.folder, self.signs, self.full, self.breaks = folder, list(signs), "", False
        self.interrupted = False
        self.events: list[EpisodeEvent] = []

    def evaluate(self, _client: Any, task: str, wanted: EvalOptions, _feedback: Any) -> Evaluation:
        """Play as many as are wanted, or as there are."""
        played = [self._play(task) for _ in range(min(wanted.episodes, len(self.signs)))]
        rows = rows_of(
            task, "", seeds=[wanted.seed + i for i in range(len(played))], outcomes=[_WORDS[sign] for sign in played],
            steps=[9] * len(played), durations_s=[1.0] * len(played),
        )  # fmt: skip
        made = Evaluation(task, "", rows, 1.0, "played", wanted.episodes)
        self.full = "" if self.signs else "recorder_node is holding, disk full: 0.4 MB free"
        if self.breaks and not self.signs:
            raise BrokenOffError("the stack ended with exit code 1", made)
        if self.interrupted and not self.signs:
            raise EvaluationInterrupted(made)
        return made

    def _play(self, task: str) -> str:
        sign, number = self.signs.pop(0), len(self.events) + 1
        self.events.append(EpisodeEvent(task=task, epoch=5, episode=number, event=_ENDS[sign]))
        if sign != "x":
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / recording_name(task, 5, number)).write_text(sign)
        return sign

    def failed(self, _nodes: Any) -> str:
        """Nobody is in error."""
        return ""

    def not_ready(self, _nodes: Any) -> str:
        """Of the recorder."""
        return self.full

    def spin_until(self, condition: Callable[[], bool], _timeout_s: float) -> bool:
        """Nothing changes."""
        return condition()

    def engage(self, *, engaged: bool) -> None:
        """The expert drives."""
        assert engaged

    def trouble(self) -> str:
        """Who holds."""
        return self.full


@pytest.fixture
def booths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Booth]:
    """Makes the stack of a test; what would be exported is copied beside it."""

    def make(signs: str) -> Booth:
        booth = Booth(tmp_path / "mcap", signs)
        monkeypatch.setattr(demos, "running_client", lambda *_, **__: nullcontext(booth))
        monkeypatch.setattr(demos, "evaluate", booth.evaluate)
        monkeypatch.setattr(demos, "export", export)
        return booth

    def export(paths: list[Path], root: Path, _robot: str) -> int:
        root.mkdir()
        for path in paths:
            (root / path.name).write_text(path.read_text())
        return 10 * len(paths)

    return make


def wanted(folder: Path, episodes: int) -> demos.DemosOptions:
    return demos.DemosOptions("stack", episodes, 7, folder)


def test_when_others_have_recordings_in_the_folder_expect_them_untouched_uncounted_and_not_exported(
    tmp_path: Path, booths: Callable[[str], Booth]
) -> None:
    booths("-+")
    folder = tmp_path / "mcap"
    folder.mkdir()
    others = {"a_good_old_one.mcap": "kept", "stack_4_000001.mcap": "of a failure", "zz.mcap": "no recording at all"}
    for name, text in others.items():
        (folder / name).write_text(text)
    figures = demos.run(wanted(tmp_path, 1), tmp_path / "out.json")
    assert (figures["episodes"], figures["attempts"]) == (1, 2)
    assert [path.name for path in (tmp_path / "lerobot").iterdir()] == ["stack_5_000002.mcap"]
    assert {path.name: path.read_text() for path in folder.iterdir()} == others | {"stack_5_000002.mcap": "+"}
    assert json.loads((tmp_path / "out.json").read_text()) == figures


@pytest.mark.parametrize(("signs", "kept"), [("+x", 1), ("x", 0), ("-+-x", 1)])
def test_when_the_disk_fills_expect_what_was_kept_exported_and_an_error_that_says_how_many_and_why(
    tmp_path: Path, booths: Callable[[str], Booth], signs: str, kept: int
) -> None:
    booths(signs)
    with pytest.raises(UserError, match=rf"{kept} of 3 demonstrations were kept, .*recorder_node is holding, disk"):
        demos.run(wanted(tmp_path, 3), tmp_path / "out.json")
    exported = list((tmp_path / "lerobot").iterdir()) if kept else []
    assert len(exported) == kept
    figures = json.loads((tmp_path / "out.json").read_text())
    assert (figures["wanted"], figures["episodes"]) == (3, kept)


def test_when_a_success_was_not_kept_and_there_is_space_again_expect_another_one_recorded(
    tmp_path: Path, booths: Callable[[str], Booth]
) -> None:
    booths("x+--------")
    assert demos.run(wanted(tmp_path, 1))["expert_successes"] == 2


def test_when_the_stack_ends_on_the_way_expect_what_was_recorded_before_exported(
    tmp_path: Path, booths: Callable[[str], Booth]
) -> None:
    booths("++").breaks = True
    with pytest.raises(UserError, match="2 of 3 demonstrations were kept, 2 of 2 attempts succeeded: the stack ended"):
        demos.run(wanted(tmp_path, 3))
    assert len(list((tmp_path / "lerobot").iterdir())) == 2


def test_when_interrupted_expect_what_was_recorded_before_exported_and_the_interruption_last(
    tmp_path: Path, booths: Callable[[str], Booth]
) -> None:
    booths("++").interrupted = True
    with pytest.raises(KeyboardInterrupt):
        demos.run(wanted(tmp_path, 3), tmp_path / "out.json")
    assert len(list((tmp_path / "lerobot").iterdir())) == 2
    assert json.loads((tmp_path / "out.json").read_text())["episodes"] == 2


def test_when_an_output_cannot_be_made_expect_refusal_before_anything_is_recorded(
    tmp_path: Path, booths: Callable[[str], Booth]
) -> None:
    booth = booths("+")
    (tmp_path / "file").touch()
    for options, json_file in ((wanted(tmp_path / "file", 1), None), (wanted(tmp_path, 1), tmp_path / "file" / "j")):
        with pytest.raises(UserError, match="cannot write"):
            demos.run(options, json_file)
    assert booth.signs == ["+"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_when_seeds_would_end_behind_the_last_one_expect_refusal_with_the_range(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"seeds are 0\.\.4294967295"):
        demos.run(demos.DemosOptions("stack", 2, 2**32 - 3, tmp_path))
