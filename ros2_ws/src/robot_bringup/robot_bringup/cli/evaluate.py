# SPDX-License-Identifier: Apache-2.0
"""`whetstone eval`: episodes of one task, counted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from vla_interfaces.action import RunEpisodes

from robot_bringup.cli import screen
from robot_bringup.cli.client import FILM_FPS, Client
from robot_bringup.cli.errors import UserError
from robot_bringup.cli.marks import marks_from_keyboard
from robot_bringup.cli.options import StackOptions, robot_of
from robot_bringup.cli.stack import Stack, own_environment
from robot_bringup.core import film, report
from robot_bringup.core.report import Evaluation, rows_of

READY_TIMEOUT_S = 240.0


@dataclass(frozen=True)
class EvalOptions:
    """What to run.

    Attributes:
        episodes: How many.
        seed: Of the first; episode i uses seed + i.
        instruction: Words other than the task's own, empty for none.
        other_words: The simulator's own wrong words.
        max_steps: Ticks of an episode, 0 for the task file's.
    """

    episodes: int
    seed: int = 0
    instruction: str = ""
    other_words: bool = False
    max_steps: int = 0


@dataclass(frozen=True)
class Outputs:
    """Where results go; None for nowhere."""

    json: Path | None = None
    csv: Path | None = None
    gif: Path | None = None
    video: Path | None = None
    films: int = 3

    @property
    def takes(self) -> int:
        """Episodes to keep pictures of."""
        return self.films if self.gif or self.video else 0


def evaluate(
    client: Client, task: str, options: EvalOptions, on_feedback: Callable[[RunEpisodes.Feedback], None]
) -> Evaluation:
    """Run episodes in a stack that is ready."""
    goal = RunEpisodes.Goal(
        task=task,
        episodes=options.episodes,
        first_seed=options.seed,
        max_steps=options.max_steps,
        instruction=options.instruction,
        other_words=options.other_words,
    )
    began_s = time.monotonic()
    result = client.run_episodes(goal, on_feedback)
    rows = rows_of(
        task,
        options.instruction or ("other words of the same scene" if options.other_words else ""),
        seeds=list(result.seeds),
        outcomes=list(result.outcomes),
        steps=list(result.steps),
        durations_s=list(result.duration_s),
    )
    said = rows[0].instruction if rows else options.instruction
    return Evaluation(task, said, rows, time.monotonic() - began_s, result.message)


@contextmanager
def running_client(
    stack: StackOptions, log: Path, *, attach: bool, takes: int, note: Callable[[str], None]
) -> Iterator[Client]:
    """Client of a stack that is ready: a new one, or with `attach` the one that runs in this domain."""
    if attach:
        os.environ.update(own_environment(None))
    context = nullcontext() if attach else Stack(stack.check().arguments, log)
    with context as own:
        check = own.check if own is not None else _no_check
        cameras = tuple(robot_of(stack.robot).cameras.items())
        with Client(check, cameras, takes, reliable=stack.sim) as client:
            client.wait_ready(stack.nodes, READY_TIMEOUT_S, lambda text: note(f"waiting for {text}"))
            yield client


def _no_check() -> None:
    """A stack that we did not start is not ours to watch."""


def run(stack: StackOptions, options: EvalOptions, outputs: Outputs, *, attach: bool, log: Path) -> Evaluation:
    """The whole command."""
    with screen.progress() as bars:
        bar = screen.EpisodeBar(bars, stack.task, options.episodes)
        with running_client(stack, log, attach=attach, takes=outputs.takes, note=bar.note) as client:
            with marks_from_keyboard(client) if not stack.sim else nullcontext():
                evaluation = evaluate(client, stack.task, options, bar.feedback)
            bar.finish(evaluation)
            clips = client.clips() if outputs.takes else []
    screen.console.print(screen.results_table([evaluation]))
    if evaluation.judged == ():
        raise UserError(f"no episode could be judged: {evaluation.message}\n\nOutput of the stack: {log}")
    write(evaluation, outputs, clips)
    return evaluation


def write(evaluation: Evaluation, outputs: Outputs, clips: list[film.Clip]) -> None:
    """Write what was asked for."""
    if outputs.json is not None:
        report.write_json(outputs.json, evaluation.figures())
    if outputs.csv is not None:
        report.write_csv(outputs.csv, evaluation.rows)
    if clips and outputs.gif is not None:
        film.write_gif(outputs.gif, clips, FILM_FPS)
    if clips and outputs.video is not None:
        film.write_mp4(outputs.video, clips, FILM_FPS)
    for path in (outputs.json, outputs.csv, outputs.gif, outputs.video):
        if path is not None and path.exists():
            screen.console.print(f"wrote {path}")
