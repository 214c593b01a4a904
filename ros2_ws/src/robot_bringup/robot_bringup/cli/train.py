# SPDX-License-Identifier: Apache-2.0
"""`whetstone train`: episodes until the robot time is used up, while the learner learns from them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from robot_bringup.cli import outputs, screen, tuning
from robot_bringup.cli.client import SILENT_S, Client
from robot_bringup.cli.curve import write_curve
from robot_bringup.cli.errors import UserError
from robot_bringup.cli.evaluate import EvalOptions, evaluate, running_client
from robot_bringup.cli.method_file import read_method_file
from robot_bringup.cli.options import StackOptions, Training
from robot_bringup.cli.run_folder import RunFolder, has_begun
from robot_bringup.cli.storage import wait_for_storage
from robot_bringup.cli.training_screen import TrainingScreen
from robot_bringup.cli.training_watch import TrainingWatch
from robot_bringup.core import report
from robot_bringup.core.report import EpisodeRow
from robot_bringup.core.training import Budget, TrainingEpisode, TrainingError, TrainingLog, tally, training_seed

CANDIDATES = 8
_MOST_ABORTS = 5
_MOST_LOSSES = 2
# Counter of transition_node.
_STORED, _DAMAGED = "episodes_stored", "records_damaged"
# Messages of an episode that has ended may be a moment behind its result.
_LAST_WORDS_S = 1.0
_ON_ITS_WAY_S = 10.0
# A learner that owes more updates than this is behind.
_MOST_OWED = 32
_CATCH_UP_S = 900.0
# Somebody who helps is looked at closely: a person's steps start windows of their own only where the policy looks.
_HELPER = (
    ("operator", "scripted"),
    ("expert", "true"),
    ("supervise", "true"),
    ("look_stride", "2"),
    ("look_always", "false"),
)
# Where the world waits for the helper, they wait for the look.
_PATIENT = (("scripted_patience_s", "0.5"),)


@dataclass(frozen=True)
class RunSettings:
    """What a run must keep from one session to the next.

    Attributes:
        task: Name of the task.
        method: What is learnt.
        seed: Of scenes, exploration and networks.
        operator: scripted or none.
        pace: realtime or lockstep.
        backend: Kind of model.
        model_dir: Directory of the model, empty for the shipped one.
        n_candidates: Chunks that the VLA draws per request.
        method_file: Settings of the method, empty for the shipped ones.
        prior: Folder of a run, or of demonstrations, that has a share of what is learnt from; empty for none.
        finetune_at: Share of the budget after which the VLA itself is fine-tuned on the run, 0 for never.
        distil: At the end, fine-tune the VLA on the whole run; it is played alone from then on.
    """

    task: str
    method: str
    seed: int
    operator: str = "none"
    pace: str = "lockstep"
    backend: str = "onnx"
    model_dir: str = ""
    n_candidates: int = CANDIDATES
    method_file: str = ""
    prior: str = ""
    finetune_at: float = 0.0
    distil: bool = False


@dataclass(frozen=True)
class TrainOptions:
    """One session of a run.

    Attributes:
        run: Name of the run.
        runs: Folder that holds one folder per run.
        settings: Of the run.
        budget: When it is over, all its sessions together.
        until_s: Monotonic time at which this session begins no more episodes.
        record: Keep every episode with its images, in `mcap/` of the run's folder.
    """

    run: str
    runs: Path
    settings: RunSettings
    budget: Budget
    until_s: float = math.inf
    record: bool = False

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.runs / self.run

    @property
    def stack(self) -> StackOptions:
        """The stack with its learner, and with the run's own model once there is one."""
        training = Training(
            self.run,
            str(self.runs.resolve()),
            self.settings.seed,
            max_steps=self.budget.max_steps,
            prior=self.settings.prior,
        )
        model_dir = tuning.model_of(self.folder, self.settings.model_dir)
        stack = stack_of(replace(self.settings, model_dir=model_dir), training)
        if not (self.record or self.is_to_be_tuned or self.settings.distil):
            return stack
        recorder = (("record", "true"), ("record_dir", str(tuning.recordings_of(self.folder).resolve())))
        return replace(stack, extra=(*stack.extra, *recorder))

    @property
    def is_to_be_tuned(self) -> bool:
        """Whether the VLA will still be fine-tuned."""
        return self.settings.finetune_at > 0.0 and not tuning.is_tuned(self.folder)


def stack_of(settings: RunSettings, training: Training) -> StackOptions:
    """The stack that a run was trained with."""
    method_file = read_method_file(settings.method, Path(settings.method_file) if settings.method_file else None)
    watched = settings.operator == "scripted" and not training.freeze
    person = (*_HELPER, *(_PATIENT if settings.pace == "lockstep" else ())) if watched else ()
    return StackOptions(
        task=settings.task,
        pace=settings.pace,
        backend=settings.backend,
        model_dir=settings.model_dir,
        method=settings.method,
        n_candidates=settings.n_candidates if method_file.best_of is None else method_file.best_of,
        training=training,
        extra=(*person, *method_file.launch_arguments),
    )


def prior_of(folder: Path | None) -> str:
    """A folder of prior data as the learner is told it.

    Raises:
        UserError: There are no transitions in it.
    """
    if folder is None:
        return ""
    if not (folder / "transitions").is_dir():
        raise UserError(
            f"--prior {folder}: no transitions there\n\nMake some of demonstrations: whetstone prior --help"
        )
    return str(folder.resolve())


def read_settings(folder: Path) -> RunSettings:
    """Settings of an existing run.

    Raises:
        UserError: There is no such run, or its file makes no sense.
    """
    path = folder / "run.json"
    if not path.is_file():
        known = ", ".join(sorted(file.parent.name for file in folder.parent.glob("*/run.json"))) or "none yet"
        raise UserError(f"there is no run {folder.name!r} in {folder.parent}\n\nRuns: {known}")
    try:
        return RunSettings(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {error}") from error


def _keep_settings(options: TrainOptions) -> None:
    """Write the settings of a new run; refuse to continue an old one with others."""
    path = options.folder / "run.json"
    if not path.exists() or not has_begun(options.folder):
        report.write_json(path, asdict(options.settings))
        return
    before, now = asdict(read_settings(options.folder)), asdict(options.settings)
    changed = [f"{name}: {before[name]!r}, now {now[name]!r}" for name in now if before[name] != now[name]]
    if changed:
        raise UserError(
            f"the run {options.run!r} exists with other settings: {'; '.join(changed)}\n\n"
            "Choose another --run, or give it the settings it was begun with."
        )


def run(options: TrainOptions, json: Path | None = None) -> dict[str, Any]:
    """The whole command; returns what it adds up to, and writes that to `json`.

    Raises:
        UserError: It cannot begin, it broke off, or not all of what was driven was kept.
    """
    _check(options, json)
    with RunFolder(options.folder):
        _keep_settings(options)
        log = _log(options)
        before = len(log.episodes)
        try:
            _sessions(options, log)
        except BaseException:
            # What it adds up to is written all the same; why it broke off is what is said last.
            with suppress(UserError):
                _conclude(options, log, json)
            raise
        summary = _conclude(options, log, json)
        driven = tally(log.episodes[before:])
        if driven.lost:
            raise UserError(
                f"{driven.episodes - driven.lost} of {driven.episodes} episodes of this session were stored\n\n"
                f"Nothing was learnt from the others. Output of the stacks: {options.folder}/stack_*.log"
            )
    return summary


def _check(options: TrainOptions, json: Path | None) -> None:
    """Refuse what cannot work before anything is written."""
    options.stack.check()
    try:
        options.budget.check()
        training_seed(options.settings.seed, 1)
    except TrainingError as error:
        raise UserError(str(error)) from error
    outputs.check_folders(options.folder)
    outputs.check_files(json)


def _log(options: TrainOptions) -> TrainingLog:
    try:
        log = TrainingLog(options.folder / "episodes.jsonl")
        training_seed(options.settings.seed, len(log.episodes) + 1)
    except TrainingError as error:
        raise UserError(str(error)) from error
    return log


def _sessions(options: TrainOptions, log: TrainingLog) -> None:
    """Train, and fine-tune on the way and at the end where that is wanted."""
    if options.is_to_be_tuned:
        _train(options, log, until=options.settings.finetune_at)
        if options.budget.spent(tally(log.episodes)) >= options.settings.finetune_at:
            _tune(options, tuning.tune)
    _train(options, log, until=1.0)
    if options.settings.distil and log.episodes and not tuning.is_distilled(options.folder, log.path):
        _tune(options, tuning.distil)
    if _is_late(options) and options.budget.spent(tally(log.episodes)) < 1.0:
        screen.console.print("the time for training is up before its steps are")


def _conclude(options: TrainOptions, log: TrainingLog, json: Path | None) -> dict[str, Any]:
    """Write and say what a run adds up to."""
    so_far = tally(log.episodes)
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


def _title(options: TrainOptions) -> str:
    settings = options.settings
    return f"{options.run}: {settings.method} on {settings.task}, seed {settings.seed}"


def _is_late(options: TrainOptions) -> bool:
    return time.monotonic() >= options.until_s


def _tune(options: TrainOptions, how: Callable[[Path, str, str], None]) -> None:
    """Fine-tune the VLA; a run that has nothing for it keeps the one it has."""
    try:
        how(options.folder, options.settings.model_dir, options.stack.robot)
    except UserError as error:
        text = f"the policy was not fine-tuned, the run keeps it as it is: {error}"
        screen.console.print(text, style="yellow")


def _train(options: TrainOptions, log: TrainingLog, until: float) -> None:
    """Episodes until so much of the budget is used up, or the time is."""
    if options.budget.spent(tally(log.episodes)) >= until or _is_late(options):
        return
    with TrainingScreen(_title(options), options.budget) as view:
        view.show(tally(log.episodes))
        stack_log = _stack_log(options.folder)
        with running_client(options.stack, stack_log, attach=False, takes=0, note=view.note) as client:
            session = Session(options, client, log, view, stack_log)
            while options.budget.spent(tally(log.episodes)) < until and not session.watch.learner.finished:
                if _is_late(options):
                    break
                session.wait_for_learner()
                session.episode()
            session.finish()


def _stack_log(folder: Path) -> Path:
    """File for what the nodes of the next stack say; those of the stacks before stay."""
    paths = (folder / f"stack_{number}.log" for number in count(1))
    return next(path for path in paths if not path.exists())


class Session:
    """A stack that is ready, and the run that goes on in it."""

    def __init__(
        self, options: TrainOptions, client: Client, log: TrainingLog, view: TrainingScreen, stack_log: Path
    ) -> None:
        """Listen to the run; what the nodes say is in `stack_log`."""
        self._options, self._client, self._log, self._view = options, client, log, view
        self._stack_log = stack_log
        self.watch = TrainingWatch(client.subscribe)
        self._began_s = time.monotonic() - (log.episodes[-1].wall_s if log.episodes else 0.0)
        self._aborts = self._losses = 0
        self._learner_epoch = client.epoch_of("learner_node")
        self._storage = options.stack.storage

    def wait_for_learner(self) -> None:
        """Let storage be ready and, in lockstep, the learner make up for what it owes: robot time is scarce.

        Raises:
            UserError: It learns no more, or nothing is stored; episodes would be thrown away.
        """
        self._wait_for_storage()
        self._tell_damage()
        if self.watch.learner.halt:
            raise self._error(f"the learner has halted, {self.watch.learner.halt}")
        if self._options.settings.pace != "lockstep" or not self._log.episodes:
            return
        self.wait_for_transitions()
        if not self._wait(lambda: self.watch.learner.behind <= _MOST_OWED, "the learner catches up", _CATCH_UP_S):
            raise self._error(f"the learner still owes {self.watch.learner.behind:g} updates after {_CATCH_UP_S:g} s")
        if self.watch.learner.version > 0 and not self._wait(
            lambda: self.watch.learner.accepted > 0, "the first weights are on their way", _ON_ITS_WAY_S
        ):
            self._say("the learner's weights have not been accepted; the next episode is played without them")

    def wait_for_transitions(self) -> None:
        """Let the last episode reach the learner; until then it is stored, and comes to it with the next session."""
        stored = sum(episode.judged and episode.stored for episode in self._log.episodes)
        if not self._wait(
            lambda: self.watch.learner.episodes >= stored, "the last episode is on its way", _ON_ITS_WAY_S
        ):
            missing = stored - self.watch.learner.episodes
            self._say(f"{missing} of {stored} stored episodes have not reached the learner yet")

    def finish(self) -> None:
        """End a session: everything is with the learner, and the learner is there.

        Raises:
            UserError: It is not.
        """
        if self._log.episodes:
            self._wait_for_storage()
            self._tell_damage()
            self.wait_for_transitions()

    def _tell_damage(self) -> None:
        """Say how much of what the run has stored cannot be read, when that is news."""
        damaged = self._client.counter("transition_node", _DAMAGED)
        if damaged > self._log.damaged_records:
            self._say(f"{damaged} stored transitions are damaged on the disk; all others are learnt from")
        self._log.damaged_records = damaged

    def _wait_for_storage(self) -> None:
        """Wait until what is driven will be stored and learnt from; say so when the learner was started again."""
        try:
            wait_for_storage(self._client, self._storage, self._view.note)
        except UserError as error:
            raise self._error(str(error)) from error
        epoch = self._client.epoch_of("learner_node")
        if epoch != self._learner_epoch:
            self._learner_epoch = epoch
            self.watch.forget_learner()
            self._say("learner_node has died and was started again; it goes on from its newest checkpoint")
            self._wait(lambda: self.watch.learner.heard_s > 0.0, "the new learner reports", _ON_ITS_WAY_S)

    def _error(self, text: str) -> UserError:
        return UserError(f"{text}\n\nOutput of the stack: {self._stack_log}")

    def _say(self, text: str) -> None:
        screen.console.print(text, style="yellow", markup=False)

    def _wait(self, condition: Callable[[], bool], what: str, timeout_s: float) -> bool:
        """Wait while the learner is there; one that dies meanwhile is waited for, and its time does not count."""
        so_far = tally(self._log.episodes)
        is_gone = False

        def look() -> bool:
            nonlocal is_gone
            self._view.show(so_far, self.watch.learner)
            is_gone = self._client.silence_s("learner_node") > SILENT_S
            return is_gone or condition()

        while True:
            self._view.note(what)
            is_over = self._client.spin_until(look, timeout_s)
            if not is_gone:
                return is_over
            self._wait_for_storage()

    def episode(self) -> None:
        """Run one episode and write it down.

        Raises:
            UserError: Too many episodes in a row were aborted.
        """
        number = len(self._log.episodes) + 1
        seed = training_seed(self._options.settings.seed, number)
        so_far = tally(self._log.episodes)

        def feedback(feedback: Any) -> None:
            words = f"episode {number} · {feedback.phase} · step {feedback.step}"
            self._view.note(" · ".join(filter(None, (words, self._client.trouble()))))
            self._view.show(so_far, self.watch.learner)

        self._client.events.clear()
        stored = self._client.counter("transition_node", _STORED)
        evaluation = evaluate(self._client, self._options.settings.task, EvalOptions(1, seed), feedback)
        for row in evaluation.rows:
            self._log.append(self._episode(number, row, stored))
        self._count_losses(number)
        self._view.show(tally(self._log.episodes), self.watch.learner)
        self._aborts = 0 if evaluation.judged else self._aborts + 1
        if self._aborts >= _MOST_ABORTS:
            raise self._error(f"{self._aborts} episodes in a row were aborted: {evaluation.message}")

    def _count_losses(self, number: int) -> None:
        newest = self._log.episodes[-1]
        if newest.counts:
            self._losses = 0
            return
        self._losses += 1
        self._say(f"episode {number} was not stored: {self._client.trouble() or 'transition_node does not say why'}")
        if self._losses >= _MOST_LOSSES:
            raise self._error(f"{self._losses} episodes in a row were not stored")

    def _is_stored(self, row: EpisodeRow, before: int) -> bool:
        """Whether an episode has reached the disk; an aborted one has nothing that must."""
        if row.outcome == "aborted":
            return False
        self._view.note("the episode is stored")
        return self._client.spin_until(lambda: self._client.counter("transition_node", _STORED) > before, _ON_ITS_WAY_S)

    def _episode(self, number: int, row: EpisodeRow, stored: int) -> TrainingEpisode:
        watch, events = self.watch, self._client.events
        # An episode that was aborted before it began has no number.
        key = (events[-1].epoch, events[-1].episode) if events else (0, 0)
        self._client.spin_until(lambda: watch.steps[key] >= row.steps, _LAST_WORDS_S)
        q_mean = watch.learner.q_mean
        return TrainingEpisode(
            episode=number,
            seed=row.seed,
            outcome=row.outcome,
            success=row.success,
            steps=row.steps,
            duration_s=row.duration_s,
            human_steps=watch.human_steps[key],
            decisions=watch.decisions[key],
            edited=watch.edited[key],
            policy_version=watch.played.get(key, 0),
            updates=watch.learner.updates,
            q_mean=q_mean if q_mean == q_mean else None,
            wall_s=time.monotonic() - self._began_s,
            stored=self._is_stored(row, stored),
        )
