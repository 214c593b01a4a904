# SPDX-License-Identifier: Apache-2.0
"""`whetstone demos`: the scripted expert drives the arm through the graph, and its successes become a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_bringup.cli import screen
from robot_bringup.cli.client import Client
from robot_bringup.cli.errors import UserError
from robot_bringup.cli.evaluate import EvalOptions, evaluate, running_client
from robot_bringup.cli.exporting import export
from robot_bringup.cli.options import StackOptions
from robot_bringup.core.recording.reader import metadata
from robot_bringup.core.report import Evaluation

# The expert fails now and then; so many more episodes are tried before giving up.
_ATTEMPTS_FACTOR = 2
_LAST_FILE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class DemosOptions:
    """What to record.

    Attributes:
        task: Name of the task.
        episodes: Successful ones to keep.
        seed: Of the first.
        out: Folder; recordings go to mcap/, the dataset to lerobot/.
        robot: Robot file.
    """

    task: str
    episodes: int
    seed: int
    out: Path
    robot: str = "sim_panda"

    @property
    def recordings(self) -> Path:
        """Folder of the MCAP files."""
        return self.out / "mcap"

    @property
    def dataset(self) -> Path:
        """Folder of the exported dataset."""
        return self.out / "lerobot"


def run(options: DemosOptions) -> dict[str, Any]:
    """The whole command; returns its figures."""
    if options.dataset.exists():
        raise UserError(f"{options.dataset} exists\n\nChoose another --out, or remove it.")
    runs = _record(options)
    kept = keep_successes(options.recordings, options.episodes)
    if not kept:
        raise UserError(f"no recording in {options.recordings}\n\nOutput of the stack: {options.out / 'demos.log'}")
    frames = export(kept, options.dataset, options.robot)
    attempts = sum(len(run.rows) for run in runs)
    screen.console.print(f"{len(kept)} episodes, {frames} frames: {options.recordings} and {options.dataset}")
    return {
        "task": options.task,
        "episodes": len(kept),
        "attempts": attempts,
        "expert_successes": sum(row.success for run in runs for row in run.rows),
        "frames": frames,
        "runs": [run.figures() for run in runs],
    }


def _record(options: DemosOptions) -> list[Evaluation]:
    stack = StackOptions(
        task=options.task,
        robot=options.robot,
        backend="fake",
        extra=(
            ("operator", "scripted"),
            ("expert", "true"),
            ("record", "true"),
            ("record_dir", str(options.recordings.resolve())),
        ),
    )
    runs: list[Evaluation] = []
    with screen.progress() as bars:
        bar = screen.EpisodeBar(bars, f"{options.task} by the expert", options.episodes)
        log = options.out / "demos.log"
        with running_client(stack, log, attach=False, takes=0, note=bar.note) as client:
            client.engage(engaged=True)
            seed, missing = options.seed, options.episodes
            while missing > 0 and seed < options.seed + _ATTEMPTS_FACTOR * options.episodes:
                runs.append(evaluate(client, options.task, EvalOptions(missing, seed), bar.feedback))
                seed += missing
                missing -= sum(row.success for row in runs[-1].rows)
                if not runs[-1].judged:
                    raise UserError(f"the expert cannot drive: {runs[-1].message}\n\nOutput of the stack: {log}")
            _wait_for_files(client, options.recordings, sum(len(run.rows) for run in runs))
            bar.finish(runs[-1])
    return runs


def _wait_for_files(client: Client, folder: Path, count: int) -> None:
    """The recorder closes a file a moment after its episode has ended."""
    client.spin_until(lambda: len(list(folder.glob("*.mcap"))) >= count, _LAST_FILE_TIMEOUT_S)


def keep_successes(folder: Path, count: int) -> list[Path]:
    """Delete recordings of anything but successes; return the first `count` of them."""
    kept = []
    for path in sorted(folder.glob("*.mcap")):
        if metadata(path)["outcome"] == "succeeded":
            kept.append(path)
        else:
            path.unlink()
    return kept[:count]
