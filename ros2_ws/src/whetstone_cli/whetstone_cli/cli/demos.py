# SPDX-License-Identifier: Apache-2.0
"""`whetstone demos`: the scripted expert drives the arm through the graph, and its successes become a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_interfaces.msg import EpisodeEvent

from experience.core.recording.episode_file import recording_name
from whetstone_cli.cli import outputs, screen
from whetstone_cli.cli.client import Client
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import (
    LAST_FILE_TIMEOUT_S,
    BrokenOffError,
    EvalOptions,
    EvaluationInterrupted,
    evaluate,
    running_client,
)
from whetstone_cli.cli.exporting import export
from whetstone_cli.cli.options import StackOptions, recorder_arguments, task_name_of
from whetstone_cli.cli.storage import wait_for_storage
from whetstone_cli.core import report
from whetstone_cli.core.report import Evaluation

# The expert fails now and then; so many more episodes are tried before giving up.
_ATTEMPTS_FACTOR = 2


@dataclass(frozen=True)
class DemosOptions:
    """What to record.

    Attributes:
        task: Name of the task.
        episodes: Successful ones to keep.
        seed: Of the first.
        out: Folder; recordings go to mcap/, the dataset to lerobot/.
        robot: Robot file.
        namespace: Of the robot's nodes and topics, empty for none.
    """

    task: str
    episodes: int
    seed: int
    out: Path
    robot: str = "sim_panda"
    namespace: str = ""

    @property
    def recordings(self) -> Path:
        """Folder of the MCAP files."""
        return self.out / "mcap"

    @property
    def dataset(self) -> Path:
        """Folder of the exported dataset."""
        return self.out / "lerobot"

    @property
    def log(self) -> Path:
        """Output of the stack."""
        return self.out / "demos.log"


def run(options: DemosOptions, json: Path | None = None) -> dict[str, Any]:
    """The whole command; returns its figures.

    Raises:
        UserError: Fewer demonstrations were kept than were wanted; those that were are exported.
    """
    EvalOptions(_ATTEMPTS_FACTOR * options.episodes, options.seed).check()
    outputs.check_new_folder(options.dataset)
    outputs.check_folders(options.recordings)
    outputs.check_files(json, options.log)
    session = _record(options)
    kept = session.keep_successes(options.episodes)
    frames = export(kept, options.dataset, options.robot) if kept else 0
    if kept:
        screen.console.print(f"{len(kept)} episodes, {frames} frames: {options.recordings} and {options.dataset}")
    rows = [row for run in session.runs for row in run.rows]
    figures = {
        "task": task_name_of(options.task),
        "wanted": options.episodes,
        "episodes": len(kept),
        "attempts": len(rows),
        "expert_successes": sum(row.success for row in rows),
        "frames": frames,
        "runs": [run.figures() for run in session.runs],
    }
    outputs.write_each((json, lambda path: report.write_json(path, figures)))
    if session.interrupted:
        raise KeyboardInterrupt
    if len(kept) < options.episodes:
        raise UserError(
            f"{len(kept)} of {options.episodes} demonstrations were kept, {figures['expert_successes']} of {len(rows)} "
            f"attempts succeeded: {session.problem}\n\nOutput of the stack: {options.log}"
        )
    return figures


class _DemoSession:
    """What one call of the command plays and records; files of others in the folder are not its business.

    Attributes:
        runs: What was played.
        problem: Why it broke off.
        interrupted: Whether that was Ctrl-C.
    """

    def __init__(self, client: Client, options: DemosOptions) -> None:
        """Nothing is played yet."""
        self._client, self._options = client, options
        self.runs: list[Evaluation] = []
        self.problem = "so many attempts are the limit"
        self.interrupted = False

    def recordings(self, *, succeeded: bool) -> list[Path]:
        """Files of episodes that have ended with that outcome, in order, as far as they were kept."""
        ends = [event for event in self._client.events if event.event != EpisodeEvent.STARTED and event.episode > 0]
        paths = [
            self._options.recordings / recording_name(event.task, event.epoch, event.episode)
            for event in ends
            if (event.event == EpisodeEvent.SUCCEEDED) == succeeded
        ]
        return [path for path in paths if path.is_file()]

    def play(self, stack: StackOptions, bar: screen.EpisodeBar) -> None:
        """Let the expert drive until there are enough recordings.

        Raises:
            UserError: It cannot go on.
        """
        seed = self._options.seed
        bound = seed + _ATTEMPTS_FACTOR * self._options.episodes
        while (missing := self._options.episodes - len(self.recordings(succeeded=True))) > 0 and seed < bound:
            wait_for_storage(self._client, stack.storage, bar.note)
            wanted = EvalOptions(min(missing, bound - seed), seed)
            run = evaluate(self._client, task_name_of(self._options.task), wanted, bar.feedback)
            self.runs.append(run)
            seed += len(run.rows)
            # The recorder closes a file a moment after its episode has ended.
            self._client.spin_until(lambda: not self._client.not_ready(stack.storage), LAST_FILE_TIMEOUT_S)
            if not run.judged and not self._client.not_ready(stack.storage):
                raise UserError(f"the expert cannot drive: {run.message}")
        bar.finish_with(len(self.recordings(succeeded=True)))

    def keep_successes(self, count: int) -> list[Path]:
        """Delete this session's recordings of anything but successes; return the first `count` of the others."""
        for path in self.recordings(succeeded=False):
            path.unlink()
        return self.recordings(succeeded=True)[:count]


def _record(options: DemosOptions) -> _DemoSession:
    stack = StackOptions(
        task=options.task,
        robot=options.robot,
        namespace=options.namespace,
        backend="fake",
        extra=(("operator", "scripted"), ("expert", "true"), *recorder_arguments(options.recordings)),
    )
    with screen.progress() as bars:
        bar = screen.EpisodeBar(bars, f"{task_name_of(options.task)} by the expert", options.episodes)
        with running_client(stack, options.log, attach=False, takes=0, note=bar.note) as client:
            bar.trouble = client.trouble
            client.engage(engaged=True)
            session = _DemoSession(client, options)
            try:
                session.play(stack, bar)
            except UserError as error:
                session.problem = str(error).partition("\n\n")[0]
                if isinstance(error, BrokenOffError):
                    session.runs.append(error.evaluation)
            except KeyboardInterrupt as stop:
                session.interrupted = True
                if isinstance(stop, EvaluationInterrupted):
                    session.runs.append(stop.evaluation)
    return session
