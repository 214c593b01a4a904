# SPDX-License-Identifier: Apache-2.0
"""`whetstone eval --run`: what a training run adds up to, alone or against the base on the same scenes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from whetstone_cli.cli import outputs, screen
from whetstone_cli.cli.client import Client
from whetstone_cli.cli.episode_film import FILM_FPS
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import (
    EvalOptions,
    EvalOutputs,
    end_if_interrupted,
    played,
    refuse_shortfall,
    running_client,
)
from whetstone_cli.cli.options import StackOptions, Training
from whetstone_cli.cli.run_settings import RunSettings, read_settings, stack_of
from whetstone_cli.cli.training_watch import LearnerWatch
from whetstone_cli.cli.tuning import distilled_of, model_of
from whetstone_cli.core import film, report
from whetstone_cli.core.film import Clip
from whetstone_cli.core.report import Evaluation
from whetstone_cli.core.statistics import Paired, mcnemar
from whetstone_cli.core.training import FIRST_TRAINING_SEED
from whetstone_common.core.run_name import run_name_problem

_WEIGHTS_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Comparison:
    """A run, and the base on the same scenes where it was wanted."""

    run: str
    trained: Evaluation
    base: Evaluation | None

    @property
    def paired(self) -> Paired | None:
        """Base first, run second, over the episodes that were judged in both."""
        if self.base is None:
            return None
        base = {row.seed: row.success for row in self.base.judged}
        pairs = [(base[row.seed], row.success) for row in self.trained.judged if row.seed in base]
        return mcnemar([first for first, _ in pairs], [second for _, second in pairs])

    def figures(self) -> dict[str, Any]:
        """Everything that goes to JSON."""
        paired = self.paired
        return {
            "run": self.run,
            "trained": self.trained.figures(),
            "base": None if self.base is None else self.base.figures(),
            "mcnemar": None if paired is None else asdict(paired),
        }


def run(
    name: str,
    runs: Path,
    options: EvalOptions,
    wanted: EvalOutputs,
    *,
    paired: bool,
    log: Path,
    model_dir: str = "",
    namespace: str = "",
) -> Comparison:
    """The whole command; with a model that was fine-tuned since where one is named, the base is still the run's own."""
    check_seeds(options)
    options.check()
    outputs.check_files(wanted.json, wanted.csv, wanted.film, log)
    if problem := run_name_problem(name):
        raise UserError(problem)
    settings = read_settings(runs / name)
    base_log = log.with_name(f"{log.stem}_base{log.suffix}")
    base, before = None, None
    if paired:
        stack = replace(base_stack(settings), namespace=namespace)
        base, before = _evaluation(stack, f"{stack.task_name}, base", options, base_log, wanted.takes)
        if base.interrupted:
            _end_with_base(name, base, wanted.json)
    stack = replace(run_stack(name, runs, settings, model_dir), namespace=namespace)
    trained, clips = _evaluation(stack, f"{stack.task_name}, {name}", options, log, wanted.takes)
    comparison = Comparison(name, trained, base)
    show(comparison)
    pictures = film.reels_of(list(clips.values())) if before is None else before_and_after(before, clips, name)
    outputs.write_each(
        (wanted.json, lambda path: report.write_json(path, comparison.figures())),
        (wanted.csv, lambda path: report.write_csv(path, comparison.trained.rows)),
        (wanted.film if pictures else None, lambda path: film.write_film(path, pictures, FILM_FPS)),
    )
    if base is not None:
        refuse_shortfall(base, base_log)
    refuse_shortfall(trained, log)
    return comparison


def before_and_after(before: Mapping[int, Clip], after: Mapping[int, Clip], name: str) -> list[film.Reel]:
    """The base beside what was learnt, in each scene that there are films of both of."""

    def named(clip: Clip, policy: str) -> Clip:
        return replace(clip, outcome=f"{policy}: {clip.outcome}")

    return [
        film.side_by_side(named(before[seed], "base"), named(clip, name))
        for seed, clip in after.items()
        if seed in before
    ]


def _end_with_base(name: str, base: Evaluation, json: Path | None) -> None:
    """Show and write what there is of a comparison that was broken off before its second half."""
    screen.console.print(screen.results_table([base]))
    figures = {"run": name, "trained": None, "base": base.figures(), "mcnemar": None}
    outputs.write_each((json, lambda path: report.write_json(path, figures)))
    end_if_interrupted(base)


def check_seeds(options: EvalOptions) -> None:
    """Refuse scenes that training may have shown.

    Raises:
        UserError: There are such.
    """
    if options.seed + options.episodes > FIRST_TRAINING_SEED:
        raise UserError(f"seeds from {FIRST_TRAINING_SEED} on are for training\n\nEvaluate with a smaller --seed.")


def run_stack(name: str, runs: Path, settings: RunSettings, model_dir: str = "") -> StackOptions:
    """The stack that plays what a run adds up to and learns nothing; with the run's own model, or the one named.

    That is the VLA that the run was distilled into: the small policies have never seen it, so it plays alone. A run
    that was not distilled plays its newest weights.
    """
    distilled = distilled_of(runs / name)
    if distilled is not None and not model_dir:
        return base_stack(replace(settings, model_dir=str(distilled)))
    model_dir = model_dir or model_of(runs / name, settings.model_dir)
    training = Training(name, str(runs.resolve()), settings.seed, freeze=True)
    return stack_of(replace(settings, model_dir=model_dir), training)


def base_stack(settings: RunSettings) -> StackOptions:
    """The stack that plays what a run was begun with."""
    return StackOptions(settings.task, pace=settings.pace, backend=settings.backend, model_dir=settings.model_dir)


def _evaluation(
    stack: StackOptions, label: str, options: EvalOptions, log: Path, takes: int
) -> tuple[Evaluation, dict[int, Clip]]:
    with screen.progress() as bars:
        bar = screen.EpisodeBar(bars, label, options.episodes)
        with running_client(stack, log, attach=False, takes=takes, note=bar.note) as client:
            if stack.training is not None:
                wait_for_weights(client)
            bar.trouble = client.trouble
            evaluation = played(client, stack.task_name, options, bar.feedback)
            clips = client.clips()
        bar.finish(evaluation)
    if not evaluation.judged and not evaluation.interrupted:
        raise UserError(f"no episode could be judged: {evaluation.message}\n\nOutput of the stack: {log}")
    return evaluation, clips


def wait_for_weights(client: Client) -> None:
    """Wait until the robot plays what was learnt.

    Raises:
        UserError: There is nothing to play.
    """
    learner = LearnerWatch(client.subscribe)

    def is_played() -> bool:
        if failure := client.failed(("learner_node",)):
            raise UserError(failure)
        return learner.report.accepted > 0

    if not client.spin_until(is_played, _WEIGHTS_TIMEOUT_S):
        raise UserError(
            f"steering_node has accepted no weights within {_WEIGHTS_TIMEOUT_S:g} s\n\n"
            "Has the run got past its base episodes? A run without weights plays the base."
        )


def show(comparison: Comparison) -> None:
    """Print a table, and how the two differ."""
    table = Table()
    for name in ("policy", "success", "rate", "95 % interval", "time"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    for name, evaluation in (("base", comparison.base), (comparison.run, comparison.trained)):
        if evaluation is None:
            continue
        rate, time_s = evaluation.rate, evaluation.mean_time_to_success_s
        table.add_row(
            name,
            f"{rate.successes}/{rate.episodes}",
            f"{100 * rate.rate:.0f} %",
            f"{100 * rate.low:.0f} to {100 * rate.high:.0f} %",
            "-" if time_s is None else f"{time_s:.1f} s",
        )
    screen.console.print(table)
    paired = comparison.paired
    if paired is not None:
        screen.console.print(
            f"same scenes: both {paired.both}, base only {paired.first_only}, {comparison.run} only "
            f"{paired.second_only}, neither {paired.neither}; McNemar's exact p = {paired.p_value:.3g}"
        )
