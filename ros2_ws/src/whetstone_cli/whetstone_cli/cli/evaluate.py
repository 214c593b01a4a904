# SPDX-License-Identifier: Apache-2.0
"""`whetstone eval`: episodes of one task, counted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vla_interfaces.action import RunEpisodes
from vla_interfaces.msg import EpisodeEvent

from robot_operation.core.episodes import SEED_BOUND
from whetstone_cli.cli import outputs as files
from whetstone_cli.cli import screen
from whetstone_cli.cli.client import Client
from whetstone_cli.cli.episode_film import FILM_FPS
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.marks import marks_from_keyboard
from whetstone_cli.cli.options import StackOptions, recorder_arguments, robot_of
from whetstone_cli.cli.stack import Stack, own_environment
from whetstone_cli.core import film, report
from whetstone_cli.core.report import Evaluation, rows_of
from whetstone_common.core.enums import Outcome

READY_TIMEOUT_S = 240.0
LAST_FILE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class EvalOptions:
    """What to run.

    Attributes:
        episodes: How many.
        seed: Of the first; episode i uses seed + i.
        instruction: Words other than the task's own, empty for none.
        other_instruction: The simulator's own wrong words.
        max_steps: Ticks of an episode, 0 for the task file's.
        evaluation: On the way of a training run: nobody helps, and nothing is learnt from it.
    """

    episodes: int
    seed: int = 0
    instruction: str = ""
    other_instruction: bool = False
    max_steps: int = 0
    evaluation: bool = False

    @property
    def said(self) -> str:
        """Words other than the task's own, as the figures name them."""
        return self.instruction or ("other words of the same scene" if self.other_instruction else "")

    def check(self) -> None:
        """Refuse seeds that there are not.

        Raises:
            UserError: The last episode would have one.
        """
        last = self.seed + self.episodes - 1
        if last >= SEED_BOUND:
            raise UserError(
                f"{self.episodes} episodes from seed {self.seed} end at seed {last}: seeds are 0..{SEED_BOUND - 1}\n\n"
                "Use a smaller --seed."
            )


class BrokenOffError(UserError):
    """The stack ended while episodes ran.

    Attributes:
        evaluation: What was played before.
    """

    def __init__(self, text: str, evaluation: Evaluation) -> None:
        """Keep both."""
        super().__init__(text)
        self.evaluation = evaluation


class EvaluationInterrupted(KeyboardInterrupt):
    """Ctrl-C while episodes ran.

    Attributes:
        evaluation: What was played before.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        """Keep it."""
        super().__init__()
        self.evaluation = evaluation


@dataclass(frozen=True)
class EvalOutputs:
    """Where results go; None for nowhere."""

    json: Path | None = None
    csv: Path | None = None
    film: Path | None = None
    films: int = 3
    recordings: Path | None = None

    @property
    def takes(self) -> int:
        """Episodes to keep pictures of."""
        return self.films if self.film else 0


def evaluate(
    client: Client, task: str, options: EvalOptions, on_feedback: Callable[[RunEpisodes.Feedback], None]
) -> Evaluation:
    """Run episodes in a stack that is ready.

    Raises:
        BrokenOffError: The stack has ended; what was played before stands in it.
        EvaluationInterrupted: Ctrl-C; likewise.
        UserError: The goal was refused.
    """
    goal = RunEpisodes.Goal(
        task=task,
        episodes=options.episodes,
        first_seed=options.seed,
        max_steps=options.max_steps,
        instruction=options.instruction,
        other_instruction=options.other_instruction,
        evaluation=options.evaluation,
    )
    began_s, heard = time.monotonic(), len(client.events)
    try:
        result = client.run_episodes(goal, on_feedback)
    except (UserError, KeyboardInterrupt) as error:
        played = [event for event in client.events[heard:] if event.event != EpisodeEvent.STARTED]
        if not played:
            raise
        if isinstance(error, KeyboardInterrupt):
            before = _heard(task, options, played, began_s, "interrupted at the command line")
            raise EvaluationInterrupted(replace(before, interrupted=True)) from error
        raise BrokenOffError(str(error), _heard(task, options, played, began_s, str(error))) from error
    rows = rows_of(
        task,
        options.said,
        seeds=list(result.seeds),
        outcomes=[Outcome(outcome) for outcome in result.outcomes],
        steps=list(result.steps),
        durations_s=list(result.duration_s),
    )
    said = rows[0].instruction if rows else options.instruction
    return Evaluation(task, said, rows, time.monotonic() - began_s, result.message, options.episodes)


def _heard(task: str, options: EvalOptions, ends: list[EpisodeEvent], began_s: float, message: str) -> Evaluation:
    """Episodes as their end was told, where nobody is left who would give the result."""
    rows = rows_of(
        task,
        options.said,
        seeds=[event.seed for event in ends],
        outcomes=[Outcome(event.event) for event in ends],
        steps=[event.steps for event in ends],
        durations_s=[event.duration_s for event in ends],
    )
    headline = message.partition("\n\n")[0]
    return Evaluation(task, options.said, rows, time.monotonic() - began_s, headline, options.episodes)


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
        with Client(check, cameras, takes, reliable=stack.sim, namespace=stack.namespace) as client:
            client.wait_ready(stack.nodes, READY_TIMEOUT_S, lambda text: note(f"waiting: {text}"))
            yield client


def _wait_for_last_file(client: Client, stack: StackOptions) -> None:
    """The recorder closes a file a moment after its episode has ended; a stack that has ended is told of elsewhere."""
    with suppress(UserError):
        client.spin_until(lambda: not client.not_ready(stack.storage), LAST_FILE_TIMEOUT_S)


def _no_check() -> None:
    """A stack that we did not start is not ours to watch."""


def run(stack: StackOptions, options: EvalOptions, outputs: EvalOutputs, *, attach: bool, log: Path) -> Evaluation:
    """The whole command."""
    options.check()
    files.check_files(outputs.json, outputs.csv, outputs.film, log)
    if outputs.recordings:
        files.check_folders(outputs.recordings)
        stack = replace(stack, extra=(*stack.extra, *recorder_arguments(outputs.recordings)))
    with screen.progress() as bars:
        bar = screen.EpisodeBar(bars, stack.task_name, options.episodes)
        with running_client(stack, log, attach=attach, takes=outputs.takes, note=bar.note) as client:
            bar.trouble = client.trouble
            with marks_from_keyboard(client) if not stack.sim else nullcontext():
                evaluation = played(client, stack.task_name, options, bar.feedback)
            if outputs.recordings:
                _wait_for_last_file(client, stack)
            bar.finish(evaluation)
            clips = list(client.clips().values()) if outputs.takes else []
    screen.console.print(screen.results_table([evaluation]))
    write(evaluation, outputs, clips)
    refuse_shortfall(evaluation, log)
    return evaluation


def played(
    client: Client, task: str, options: EvalOptions, on_feedback: Callable[[RunEpisodes.Feedback], None]
) -> Evaluation:
    """As `evaluate`, for those who take what there is: why it broke off is the evaluation's message."""
    try:
        return evaluate(client, task, options, on_feedback)
    except (BrokenOffError, EvaluationInterrupted) as error:
        return error.evaluation


def refuse_shortfall(evaluation: Evaluation, log: Path) -> None:
    """Say that an evaluation is not what was asked for.

    Raises:
        UserError: Fewer episodes were judged.
        KeyboardInterrupt: They were, because of Ctrl-C.
    """
    end_if_interrupted(evaluation)
    if evaluation.shortfall:
        raise UserError(f"{evaluation.shortfall}\n\nOutput of the stack: {log}")


def end_if_interrupted(*evaluations: Evaluation) -> None:
    """Go on with a Ctrl-C once what was played before is shown and written.

    Raises:
        KeyboardInterrupt: One of them was broken off by it.
    """
    for evaluation in evaluations:
        if evaluation.interrupted:
            screen.console.print(evaluation.shortfall, style="yellow", highlight=False)
            raise KeyboardInterrupt


def write(evaluation: Evaluation, outputs: EvalOutputs, clips: list[film.Clip]) -> None:
    """Write what was asked for.

    Raises:
        UserError: Something could not be written; the rest is.
    """
    files.write_each(
        (outputs.json, lambda path: report.write_json(path, evaluation.figures())),
        (outputs.csv, lambda path: report.write_csv(path, evaluation.rows)),
        (outputs.film if clips else None, lambda path: film.write_film(path, film.reels_of(clips), FILM_FPS)),
    )
