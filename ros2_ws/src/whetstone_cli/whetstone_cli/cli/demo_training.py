# SPDX-License-Identifier: Apache-2.0
"""Second half of `whetstone demo`: a run of its own is trained, and compared with the base on new scenes."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whetstone_cli.cli import scenes, screen, train, trained
from whetstone_cli.cli.episode_film import FILM_FPS
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import EvalOptions
from whetstone_cli.cli.run_settings import RunSettings, TrainOptions
from whetstone_cli.cli.scenes import EvalJob
from whetstone_cli.core import film
from whetstone_cli.core.before_after import Timetable, same_scenes
from whetstone_cli.core.training import Budget, TrainingLog
from whetstone_common.core.training_log import summarize

GIF = "demo_before_after.gif"


@dataclass(frozen=True)
class DemoTraining:
    """What the demonstration goes on to learn, on one of its tasks.

    Attributes:
        task: The task.
        method: What is learnt.
        backend: Kind of model.
        budget: When the run is over.
        runs: Folder for the run.
        scenes: On so many base and sharpened policy are compared.
        seed: Of the first of them.
        prior: Folder that has a share of what is learnt from, empty for none.
        finetune_at: Share of the budget after which the VLA itself is fine-tuned, 0 for never.
    """

    task: str
    method: str
    backend: str
    budget: Budget
    runs: Path
    scenes: int
    seed: int
    prior: str = ""
    finetune_at: float = 0.0

    @property
    def settings(self) -> RunSettings:
        """Of the run."""
        return RunSettings(
            self.task,
            self.method,
            seed=0,
            operator="scripted",
            backend=self.backend,
            prior=self.prior,
            finetune_at=self.finetune_at,
        )


def run(wanted: DemoTraining, out: Path, times: Timetable) -> Iterator[dict[str, Any]]:
    """Train, compare, film; yields what is known after each part.

    Raises:
        UserError: The learner or one of the two stacks has given up.
    """
    options = _train_options(wanted, times.training_until_s)
    name = options.run
    screen.console.print(f"run: {options.folder}", soft_wrap=True)
    _train(options)
    log = TrainingLog(options.folder / "episodes.jsonl")
    summary = summarize(log.episodes)
    learnt: dict[str, Any] = {
        "run": name,
        "folder": str(options.folder),
        "curve": str(options.folder / "curve.png"),
        "person_share": summary.human_share,
        "training": {**asdict(summary), "wall_s": log.episodes[-1].wall_s if log.episodes else 0.0},
        "scenes_wanted": wanted.scenes,
    }
    yield learnt
    if all(episode.policy_version == 0 for episode in log.episodes):
        raise UserError(
            "training ended before learnt weights were played: there is nothing to compare\n\n"
            f"Give it more steps or time, or go on with it:\n{train_command(options)}"
        )
    comparison, gif = _compare(wanted, options, out, times)
    learnt |= {**comparison.figures(), "run": name, "gif": None if gif is None else str(gif)}
    learnt["scenes"] = len(comparison.trained.rows)
    _show(learnt, comparison)
    yield learnt


def check(wanted: DemoTraining) -> None:
    """Refuse what cannot work before anything is started.

    Raises:
        UserError: With what to do instead.
    """
    trained.check_seeds(EvalOptions(wanted.scenes, wanted.seed))
    _train_options(wanted, math.inf).stack.check()


def _train_options(wanted: DemoTraining, until_s: float) -> TrainOptions:
    return TrainOptions(fresh_name(wanted), wanted.runs, wanted.settings, wanted.budget, until_s)


def fresh_name(wanted: DemoTraining) -> str:
    """Name of a run that does not exist yet: a demonstration never goes on with an older one."""
    stem, number = f"demo_{wanted.task}_{wanted.method}", 1
    while (wanted.runs / f"{stem}_{number}").exists():
        number += 1
    return f"{stem}_{number}"


def train_command(options: TrainOptions) -> str:
    """Command line that goes on with a run."""
    settings, budget = options.settings, options.budget
    words = ["whetstone", "train", "--run", options.run, "--runs", str(options.runs)]
    words += ["--task", settings.task, "--method", settings.method, "--operator", settings.operator]
    words += ["--backend", settings.backend, "--seed", str(settings.seed)]
    words += ["--minutes", f"{budget.minutes:g}", "--max-steps", str(budget.max_steps)]
    words += ["--evaluate-every-min", f"{options.rounds.every_min:g}"]
    words += ["--prior", settings.prior] if settings.prior else []
    words += ["--finetune-at", f"{settings.finetune_at:g}"] if settings.finetune_at else []
    return shlex.join(words)


def _train(options: TrainOptions) -> None:
    try:
        train.run(options)
    except KeyboardInterrupt:
        say = screen.console.print
        say(f"stopped while it trained; {options.folder} keeps what it has learnt. Go on with it, then compare:")
        say(train_command(options), soft_wrap=True, highlight=False)
        words = ["whetstone", "eval", "--run", options.run, "--runs", str(options.runs), "--paired"]
        say(shlex.join(words), soft_wrap=True, highlight=False)
        raise


def _compare(
    wanted: DemoTraining, options: TrainOptions, out: Path, times: Timetable
) -> tuple[trained.Comparison, Path | None]:
    out.mkdir(parents=True, exist_ok=True)
    errand = EvalJob(
        options.run, str(wanted.runs), wanted.seed, wanted.scenes, times.scenes_until_s, str(out.resolve())
    )
    base, sharpened = same_scenes(*scenes.play_both(errand))
    if not base.rows:
        raise UserError(f"no scene could be judged in both\n\nOutput of the stacks: {out}/demo_base.log")
    return trained.Comparison("sharpened", sharpened, base), _film(errand, out / GIF)


def _film(errand: EvalJob, path: Path) -> Path | None:
    """The scene that was filmed on both sides; None where no camera was heard."""
    files = [errand.film, scenes.sharpened(errand).film]
    if not all(file.is_file() for file in files):
        return None
    base, sharpened = ({0: film.load_clip(file)} for file in files)
    film.write_film(path, trained.before_and_after(base, sharpened, "sharpened"), FILM_FPS)
    for file in files:
        file.unlink()
    return path


def _show(learnt: dict[str, Any], comparison: trained.Comparison) -> None:
    say = screen.console.print
    played, asked = learnt["scenes"], learnt["scenes_wanted"]
    trained.show(comparison)
    if played < asked:
        text = f"{played} of {asked} scenes were judged in both: the time was up, or an episode was aborted"
        say(text, style="yellow")
    training = learnt["training"]
    say(
        f"training took {training['episodes']} episodes, {training['steps']} steps and {training['wall_s']:.0f} s; "
        f"a person drove {100 * learnt['person_share']:.0f} % of the steps, nobody helps in the table above"
    )
    say(f"learning curve: {learnt['curve']}", soft_wrap=True)
    if learnt["gif"] is not None:
        say(f"before and after: {learnt['gif']}", soft_wrap=True)
