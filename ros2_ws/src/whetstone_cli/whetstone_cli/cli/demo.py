# SPDX-License-Identifier: Apache-2.0
"""`whetstone demo`: the pocket VLA through the whole graph, on three tasks, with a control run; then sharpened."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from whetstone_cli.cli import demo_training, outputs, screen
from whetstone_cli.cli.demo_training import DemoTraining
from whetstone_cli.cli.episode_film import FILM_FPS
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import EvalOptions, end_if_interrupted, played, running_client
from whetstone_cli.cli.options import StackOptions
from whetstone_cli.core import film, report
from whetstone_cli.core.before_after import Timetable
from whetstone_cli.core.report import Evaluation
from whetstone_common.core.success_rate import wilson


@dataclass(frozen=True)
class DemoOptions:
    """Size of the demonstration.

    Attributes:
        tasks: Task names.
        episodes: Per task with the true instruction.
        control_episodes: Per task with other words of the same scene.
        seed: Of the first episode.
        backend: Kind of model.
        out: Folder for the films and the logs.
        budget_s: Wall time for everything; a task that has used its share gets no control run.
        sharpening: What is learnt after the tasks, None for nothing.
    """

    tasks: tuple[str, ...]
    episodes: int
    control_episodes: int
    seed: int
    backend: str
    out: Path
    budget_s: float
    sharpening: DemoTraining | None = None


@dataclass(frozen=True)
class _TaskResult:
    true: Evaluation
    control: Evaluation | None
    clip: film.Clip | None
    ready_s: float

    @property
    def interrupted(self) -> bool:
        return self.true.interrupted or (self.control is not None and self.control.interrupted)


def run(options: DemoOptions, json: Path) -> dict[str, Any]:
    """The whole command; returns the figures that it also writes to `json`."""
    EvalOptions(max(options.episodes, options.control_episodes), options.seed).check()
    outputs.check_folders(options.out)
    outputs.check_files(json)
    if options.sharpening is not None:
        demo_training.check(options.sharpening)
    began_s = time.monotonic()
    times = Timetable(began_s, options.budget_s, learns=options.sharpening is not None)
    results = []
    with screen.progress() as bars:
        for count, task in enumerate(options.tasks, start=1):
            # Each task has its share of the time; the control run is what a slow machine leaves out.
            until_s = times.task_until_s(count, len(options.tasks))
            results.append(_run_task(bars, task, options, until_s))
            if results[-1].interrupted:
                break
    controls = [result.control for result in results if result.control is not None]
    trues = [result.true for result in results]
    wall_s = time.monotonic() - began_s
    figures = _figures(trues, controls, [result.ready_s for result in results], wall_s)
    clips = [result.clip for result in results if result.clip is not None]
    _show(trues, controls, wall_s)
    outputs.write_each(
        (json, lambda path: report.write_json(path, figures)),
        (
            options.out / "demo.gif" if clips else None,
            lambda path: film.write_film(path, film.reels_of(clips), FILM_FPS),
        ),
    )
    end_if_interrupted(*trues, *controls)
    if options.sharpening is not None:
        for learnt in demo_training.run(options.sharpening, options.out, times):
            # What is known stays on the disk, whatever becomes of the rest.
            figures["sharpened"] = learnt
            figures["wall_s"] = time.monotonic() - began_s
            report.write_json(json, figures)
        screen.console.print(f"wrote {json} after {figures['wall_s']:.0f} s in all")
    refuse_shortfalls([*trues, *controls], options.out)
    return figures


def refuse_shortfalls(evaluations: Sequence[Evaluation], out: Path) -> None:
    """Say which tasks are not what was asked for.

    Raises:
        UserError: One is not.
    """
    short = [f"{evaluation.task}: {evaluation.shortfall}" for evaluation in evaluations if evaluation.shortfall]
    if short:
        raise UserError(f"{'; '.join(short)}\n\nOutput of the stacks: {out}/demo_*.log")


def _run_task(bars: Any, task: str, options: DemoOptions, until_s: float) -> _TaskResult:
    stack = StackOptions(task=task, backend=options.backend)
    bar = screen.EpisodeBar(bars, task, options.episodes)
    began_s = time.monotonic()
    log = options.out / f"demo_{task}.log"
    with running_client(stack, log, attach=False, takes=options.episodes, note=bar.note) as client:
        bar.trouble = client.trouble
        ready_s = time.monotonic() - began_s
        goal = EvalOptions(options.episodes, options.seed)
        true = played(client, task, goal, bar.feedback)
        bar.finish(true)
        # The first success shows what the policy can do; the table says how often.
        clip = client.first_clip(lambda take: take.is_success) or client.first_clip(lambda _take: True)
        control = None
        if options.control_episodes > 0 and not true.shortfall and time.monotonic() < until_s:
            second = screen.EpisodeBar(bars, f"{task}, other words", options.control_episodes)
            other = replace(goal, episodes=options.control_episodes, other_instruction=True)
            control = played(client, task, other, second.feedback)
            second.finish(control)
    return _TaskResult(true, control, clip, ready_s)


def _total(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    judged = [row for evaluation in evaluations for row in evaluation.judged]
    return asdict(wilson(sum(row.success for row in judged), len(judged)))


def _figures(
    trues: Sequence[Evaluation], controls: Sequence[Evaluation], ready_s: Sequence[float], wall_s: float
) -> dict[str, Any]:
    return {
        "success_rate": _total(trues),
        "success_rate_with_other_instruction": _total(controls) if controls else None,
        "tasks": [evaluation.figures() for evaluation in trues],
        "other_instruction": [evaluation.figures() for evaluation in controls],
        "ready_s": list(ready_s),
        "wall_s": wall_s,
        "cpu_count": os.cpu_count(),
    }


def _show(trues: Sequence[Evaluation], controls: Sequence[Evaluation], wall_s: float) -> None:
    console = screen.console
    console.print(screen.results_table(trues, controls))
    judged = [row for evaluation in trues for row in evaluation.judged]
    console.print(
        f"all tasks: [bold]{wilson(sum(row.success for row in judged), len(judged))}[/] in {wall_s:.0f} s", markup=True
    )
    if controls:
        wrong = [row for control in controls for row in control.judged]
        rate = wilson(sum(row.success for row in wrong), len(wrong))
        console.print(f"told to do something else in the same scenes: {rate} (success would be disobedience)")
