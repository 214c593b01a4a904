# SPDX-License-Identifier: Apache-2.0
"""`whetstone demo`: the pocket VLA through the whole graph, on three tasks, with a control run; then sharpened."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from robot_bringup.cli import screen, train, trained
from robot_bringup.cli.client import FILM_FPS
from robot_bringup.cli.evaluate import EvalOptions, evaluate, running_client
from robot_bringup.cli.options import StackOptions
from robot_bringup.cli.train import RunSettings, TrainOptions
from robot_bringup.core import film, report
from robot_bringup.core.report import Evaluation
from robot_bringup.core.statistics import wilson
from robot_bringup.core.training import Budget


@dataclass(frozen=True)
class Sharpening:
    """What the demonstration goes on to learn, on one of its tasks.

    Attributes:
        task: The task.
        method: What is learnt.
        budget: When the run is over.
        runs: Folder for the run.
    """

    task: str
    method: str
    budget: Budget
    runs: Path


@dataclass(frozen=True)
class DemoOptions:
    """Size of the demonstration.

    Attributes:
        tasks: Task names.
        episodes: Per task with the true instruction.
        control_episodes: Per task with other words of the same scene.
        seed: Of the first episode.
        backend: Kind of model.
        out: Folder for demo.gif and the logs.
        budget_s: Wall time for all tasks; a task that has used its share gets no control run.
        sharpening: What is learnt after the tasks, None for nothing.
    """

    tasks: tuple[str, ...]
    episodes: int
    control_episodes: int
    seed: int
    backend: str
    out: Path
    budget_s: float
    sharpening: Sharpening | None = None


@dataclass(frozen=True)
class _TaskResult:
    true: Evaluation
    control: Evaluation | None
    clip: film.Clip | None
    ready_s: float


def run(options: DemoOptions, json: Path) -> dict[str, Any]:
    """The whole command; returns the figures that it also writes to `json`."""
    began_s = time.monotonic()
    results = []
    with screen.progress() as bars:
        for count, task in enumerate(options.tasks, start=1):
            # Each task has its share of the time; the control run is what a slow machine leaves out.
            until_s = began_s + options.budget_s * count / len(options.tasks)
            results.append(_run_task(bars, task, options, until_s))
    controls = [result.control for result in results if result.control is not None]
    trues = [result.true for result in results]
    wall_s = time.monotonic() - began_s
    figures = _figures(trues, controls, [result.ready_s for result in results], wall_s)
    report.write_json(json, figures)
    clips = [result.clip for result in results if result.clip is not None]
    if clips:
        film.write_gif(options.out / "demo.gif", clips, FILM_FPS)
    _show(trues, controls, wall_s)
    if options.sharpening is not None:
        figures["sharpened"] = _sharpen(options, options.sharpening, trues)
        report.write_json(json, figures)
    screen.console.print(f"wrote {json}" + (f" and {options.out / 'demo.gif'}" if clips else ""))
    return figures


def _sharpen(options: DemoOptions, wanted: Sharpening, trues: Sequence[Evaluation]) -> dict[str, Any]:
    """Train on one task, then compare with the base on the scenes that it has just been tried on."""
    settings = RunSettings(wanted.task, wanted.method, seed=0, operator="scripted", backend=options.backend)
    name = f"demo_{wanted.task}_{wanted.method}"
    tally = train.run(TrainOptions(name, wanted.runs, settings, wanted.budget))
    goal = EvalOptions(options.episodes, options.seed)
    after = trained.evaluate_run(name, wanted.runs, goal, options.out / f"demo_{wanted.task}_trained.log")
    base = next((true for true in trues if true.task == wanted.task), None)
    comparison = trained.Comparison(name, after, base)
    trained.show(comparison)
    return {"training": tally, **comparison.figures()}


def _run_task(bars: Any, task: str, options: DemoOptions, until_s: float) -> _TaskResult:
    stack = StackOptions(task=task, backend=options.backend)
    bar = screen.EpisodeBar(bars, task, options.episodes)
    began_s = time.monotonic()
    log = options.out / f"demo_{task}.log"
    with running_client(stack, log, attach=False, takes=options.episodes, note=bar.note) as client:
        ready_s = time.monotonic() - began_s
        goal = EvalOptions(options.episodes, options.seed)
        true = evaluate(client, task, goal, bar.feedback)
        bar.finish(true)
        # The first success shows what the policy can do; the table says how often.
        clip = client.first_clip(lambda take: take.outcome == "success") or client.first_clip(lambda _take: True)
        control = None
        if options.control_episodes > 0 and time.monotonic() < until_s:
            second = screen.EpisodeBar(bars, f"{task}, other words", options.control_episodes)
            other = replace(goal, episodes=options.control_episodes, other_words=True)
            control = evaluate(client, task, other, second.feedback)
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
        "success_rate_with_other_words": _total(controls) if controls else None,
        "tasks": [evaluation.figures() for evaluation in trues],
        "other_words": [evaluation.figures() for evaluation in controls],
        "ready_s": list(ready_s),
        "wall_s": wall_s,
        "cpu_count": os.cpu_count(),
    }


def _show(trues: Sequence[Evaluation], controls: Sequence[Evaluation], wall_s: float) -> None:
    console = screen.console
    console.print(screen.results_table(trues, controls))
    judged = [row for evaluation in trues for row in evaluation.judged]
    console.print(f"all tasks: [bold]{wilson(sum(row.success for row in judged), len(judged))}[/] in {wall_s:.0f} s")
    if controls:
        wrong = [row for control in controls for row in control.judged]
        rate = wilson(sum(row.success for row in wrong), len(wrong))
        console.print(f"told to do something else in the same scenes: {rate} (success would be disobedience)")
