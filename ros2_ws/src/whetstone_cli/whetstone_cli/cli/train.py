# SPDX-License-Identifier: Apache-2.0
"""`whetstone train`: episodes until the robot time is used up, while the learner learns from them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

from rl_methods.devices import CPU
from whetstone_cli.cli import outputs, screen, tuning
from whetstone_cli.cli.curve import write_curve
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import running_client
from whetstone_cli.cli.options import task_name_of
from whetstone_cli.cli.run_folder import RunFolder
from whetstone_cli.cli.run_settings import RunSettings, TrainOptions, keep_settings, method_file_of
from whetstone_cli.cli.stack import stop_signals_ignored
from whetstone_cli.cli.training_screen import TrainingScreen
from whetstone_cli.cli.training_session import TrainingSession
from whetstone_cli.core import report
from whetstone_cli.core.training import TrainingLog, training_seed
from whetstone_common.core.run_name import run_name_problem
from whetstone_common.core.run_session import write_session
from whetstone_common.core.training_log import TrainingError, summarize


def run(options: TrainOptions, json: Path | None = None) -> dict[str, Any]:
    """The whole command; returns what it adds up to, and writes that to `json`.

    Raises:
        UserError: It cannot begin, it broke off, or not all of what was driven was kept.
    """
    _check(options, json)
    with RunFolder(options.folder):
        keep_settings(options)
        log = _log(options)
        before = len(log.episodes)
        write_session(options.folder, options.session)
        try:
            _sessions(options, log)
        except BaseException as error:
            # What it adds up to is written all the same; why it broke off is what is said last.
            with stop_signals_ignored(), suppress(UserError, OSError):
                write_session(options.folder, replace(options.session, problem=_headline(error)))
                _conclude(options, log, json)
            raise
        write_session(options.folder, replace(options.session, is_finished=not _is_late(options)))
        summary = _conclude(options, log, json)
        driven = summarize(log.episodes[before:])
        if driven.lost:
            raise UserError(
                f"{driven.episodes - driven.lost} of {driven.episodes} episodes of this session were stored\n\n"
                f"Nothing was learnt from the others. Output of the stacks: {options.folder}/stack_*.log"
            )
    return summary


def _check(options: TrainOptions, json: Path | None) -> None:
    """Refuse what cannot work before anything is written."""
    if problem := run_name_problem(options.run):
        raise UserError(problem)
    options.stack.check()
    if options.in_rounds:
        _check_rounds(options.settings, options.device)
    if method_file_of(options.settings).needs_prior and not options.settings.prior:
        raise UserError(
            f"{options.settings.method} learns from demonstrations before it plays anything: give some by --prior\n\n"
            "Make them: whetstone prior --help"
        )
    try:
        options.budget.check()
        training_seed(options.settings.seed, 1)
    except TrainingError as error:
        raise UserError(str(error)) from error
    outputs.check_folders(options.folder)
    outputs.check_files(json)


def _check_rounds(settings: RunSettings, device: str) -> None:
    """Refuse what only a learner beside the episodes could make use of."""
    given = {"--prior": settings.prior, "--finetune-at": settings.finetune_at, "--distil": settings.distil}
    given |= {"--device": device != CPU}
    if wrong := [name for name, value in given.items() if value]:
        raise UserError(
            f"{wrong[0]} is not for {settings.method}, which trains the policy itself\n\n"
            "Leave it out; demonstrations are named in the method's file (--method-file)."
        )
    if settings.backend == "fake":
        raise UserError(f"the fake backend cannot learn by {settings.method}\n\nUse --backend onnx or pocket.")


def _log(options: TrainOptions) -> TrainingLog:
    try:
        log = TrainingLog(options.folder / "episodes.jsonl")
        training_seed(options.settings.seed, len(log.episodes) + 1)
    except TrainingError as error:
        raise UserError(str(error)) from error
    return log


def _sessions(options: TrainOptions, log: TrainingLog) -> None:
    """Train, and fine-tune on the way and at the end where that is wanted."""
    if options.in_rounds:
        from whetstone_cli.cli.rounds import RoundSession

        _train(options, log, until=1.0, kind=RoundSession)
        return
    if options.is_to_be_tuned:
        _train(options, log, until=options.settings.finetune_at)
        if options.budget.spent(summarize(log.episodes)) >= options.settings.finetune_at:
            _tune(options, tuning.tune)
    _train(options, log, until=1.0)
    if options.settings.distil and log.episodes and not tuning.is_distilled(options.folder, log.path):
        _tune(options, tuning.distil)
    if _is_late(options) and options.budget.spent(summarize(log.episodes)) < 1.0:
        screen.console.print("the time for training is up before its steps are")


def _conclude(options: TrainOptions, log: TrainingLog, json: Path | None) -> dict[str, Any]:
    """Write and say what a run adds up to."""
    so_far = summarize(log.episodes)
    summary = asdict(so_far) | {"damaged_records": log.damaged_records}
    if log.episodes:
        screen.console.print(f"wrote {log.path}", soft_wrap=True)
    kept = f", {so_far.lost} of them not stored and not counted" if so_far.lost else ""
    damaged = f", {log.damaged_records} stored transitions damaged" if log.damaged_records else ""
    screen.console.print(
        f"{options.run}: {so_far.episodes} episodes{kept}, {so_far.steps} steps, "
        f"{so_far.robot_min:.1f} min of robot time{damaged}"
    )
    curve = options.folder / "curve.png" if log.episodes else None
    outputs.write_each(
        (curve, lambda path: write_curve(path, _title(options), log.episodes)),
        (json, lambda path: report.write_json(path, summary)),
    )
    return summary


def _headline(error: BaseException) -> str:
    """Why a session broke off, in one sentence; a person who interrupts it is no reason."""
    return "" if isinstance(error, KeyboardInterrupt) else str(error).partition("\n\n")[0] or type(error).__name__


def _title(options: TrainOptions) -> str:
    settings = options.settings
    return f"{options.run}: {settings.method} on {task_name_of(settings.task)}, seed {settings.seed}"


def _is_late(options: TrainOptions) -> bool:
    return time.monotonic() >= options.until_s


def _tune(options: TrainOptions, how: Callable[[Path, str, str], None]) -> None:
    """Fine-tune the VLA; a run that has nothing for it keeps the one it has."""
    try:
        how(options.folder, options.settings.model_dir, options.stack.robot)
    except UserError as error:
        text = f"the policy was not fine-tuned, the run keeps it as it is: {error}"
        screen.console.print(text, style="yellow")


def _train(options: TrainOptions, log: TrainingLog, until: float, kind: type[TrainingSession] | None = None) -> None:
    """Episodes until so much of the budget is used up, or the time is."""
    if options.budget.spent(summarize(log.episodes)) >= until or _is_late(options):
        return
    with TrainingScreen(_title(options), options.budget) as view:
        view.show(summarize(log.episodes))
        stack_log = _stack_log(options.folder)
        with running_client(options.stack, stack_log, attach=False, takes=0, note=view.note) as client:
            session = (kind or TrainingSession)(options, client, log, view, stack_log)
            while options.budget.spent(summarize(log.episodes)) < until and not session.watch.learner.finished:
                if _is_late(options):
                    break
                session.wait_for_learner()
                session.evaluate_if_due()
                session.episode()
            session.finish()
            if not _is_late(options):
                session.evaluate_if_due(at_end=True)


def _stack_log(folder: Path) -> Path:
    """File for what the nodes of the next stack say; those of the stacks before stay."""
    paths = (folder / f"stack_{number}.log" for number in count(1))
    return next(path for path in paths if not path.exists())
