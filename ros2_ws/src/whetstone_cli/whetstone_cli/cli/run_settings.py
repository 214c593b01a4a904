# SPDX-License-Identifier: Apache-2.0
"""What a training run is: its settings, which every session of it shares, and the stack that follows from them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rl_learner.core.evaluation_plan import EvaluationPlan
from rl_methods.registry import METHODS
from whetstone_cli.cli import tuning
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.method_file import MethodFile, read_method_file
from whetstone_cli.cli.options import StackOptions, Training, recorder_arguments
from whetstone_cli.cli.run_folder import has_begun
from whetstone_cli.core import report
from whetstone_cli.core.training import Budget
from whetstone_common.core.run_session import RunSession

CANDIDATES = 8
# Query-only requests while a human drives: only where the policy was asked do human steps start windows of their own.
_HELPER = (
    ("operator", "scripted"),
    ("expert", "true"),
    ("supervise", "true"),
    ("query_stride", "2"),
    ("query_always", "false"),
)
# Where the world waits for the helper, they wait for the look.
_PATIENT = (("scripted_query_timeout_s", "0.5"),)


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
        namespace: Of the robot's nodes and topics, empty for none.
        rounds: Of evaluation, on the way.
        device: Where the learner's networks learn; a run may go on with another one.
    """

    run: str
    runs: Path
    settings: RunSettings
    budget: Budget
    until_s: float = math.inf
    record: bool = False
    namespace: str = ""
    rounds: EvaluationPlan = field(default_factory=EvaluationPlan)
    device: str = "cpu"

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.runs / self.run

    @property
    def session(self) -> RunSession:
        """What this session is, as the run's folder keeps it."""
        budget, rounds = self.budget, self.rounds
        return RunSession(budget.minutes, budget.max_steps, rounds.every_min, rounds.episodes, self.record, self.device)

    @property
    def stack(self) -> StackOptions:
        """The stack with its learner, if it has one, and with the run's own model once there is one."""
        training: Training | None = None
        if not self.in_rounds:
            training = Training(
                self.run,
                str(self.runs.resolve()),
                self.settings.seed,
                max_steps=self.budget.max_steps,
                prior=self.settings.prior,
                device=self.device,
            )
        model_dir = tuning.model_of(self.folder, self.settings.model_dir)
        stack = replace(stack_of(replace(self.settings, model_dir=model_dir), training), namespace=self.namespace)
        if not (self.record or self.is_to_be_tuned or self.settings.distil or self.in_rounds):
            return stack
        return replace(stack, extra=(*stack.extra, *recorder_arguments(tuning.recordings_of(self.folder))))

    @property
    def in_rounds(self) -> bool:
        """Whether the VLA itself is trained between rounds of episodes, and no learner runs beside them."""
        return is_in_rounds(self.settings.method)

    @property
    def is_to_be_tuned(self) -> bool:
        """Whether the VLA will still be fine-tuned."""
        return self.settings.finetune_at > 0.0 and not tuning.is_tuned(self.folder)


def method_file_of(settings: RunSettings) -> MethodFile:
    """The method's file of a run."""
    return read_method_file(settings.method, Path(settings.method_file) if settings.method_file else None)


def stack_of(settings: RunSettings, training: Training | None) -> StackOptions:
    """The stack that a run was trained with."""
    method_file = method_file_of(settings)
    learns = training is not None and not training.freeze
    watched = settings.operator == "scripted" and not (training is not None and training.freeze)
    person = (*_HELPER, *(_PATIENT if settings.pace == "lockstep" else ())) if watched else ()
    return StackOptions(
        task=settings.task,
        pace=settings.pace,
        backend=settings.backend,
        model_dir=settings.model_dir,
        method=settings.method,
        n_candidates=_candidates(settings, method_file),
        training=training,
        extra=(*person, *method_file.launch_arguments, *(method_file.query_arguments if learns else ())),
    )


def _candidates(settings: RunSettings, method_file: MethodFile) -> int:
    """Chunks per request: one where nothing chooses among them."""
    if is_in_rounds(settings.method):
        return 1
    return settings.n_candidates if method_file.best_of is None else method_file.best_of


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


def keep_settings(options: TrainOptions) -> None:
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


def is_in_rounds(method: str) -> bool:
    """Whether a method trains the VLA between rounds of episodes; unknown ones do not."""
    return method in METHODS and METHODS[method].in_rounds
