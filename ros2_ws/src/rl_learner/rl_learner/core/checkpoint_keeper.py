# SPDX-License-Identifier: Apache-2.0
"""When a training run is saved, and what its disk says of it."""

from __future__ import annotations

from pathlib import Path

from rl_learner.core.checkpoint import save
from rl_learner.core.training_run import TrainingRun


class CheckpointKeeper:
    """Saves one run when anything has changed.

    Attributes:
        saved_updates: Updates of the newest checkpoint.
        problem: Why the last one was not written, empty when it was.
    """

    def __init__(self, run: TrainingRun, folder: Path, now_s: float) -> None:
        """The run is as its newest checkpoint is, or new.

        Args:
            run: To be saved.
            folder: Of its checkpoints.
            now_s: Steady time.
        """
        self._run, self._folder = run, folder
        self.saved_updates, self.problem = run.learner.updates, ""
        self._saved_s, self._saved = now_s, self._content()

    def is_due(self, now_s: float, period_s: float) -> bool:
        """Whether the period is over since the last time."""
        return now_s - self._saved_s >= period_s

    def save(self, now_s: float) -> None:
        """Write a checkpoint, when anything has changed; a disk that refuses it does not end the learning."""
        self._saved_s = now_s
        if self._content() == self._saved:
            return
        try:
            save(self._folder, self._run.snapshot())
        except OSError as error:
            self.problem = f"no checkpoint: {error}"
            return
        self.problem = ""
        self.saved_updates, self._saved = self._run.learner.updates, self._content()

    def _content(self) -> tuple[int, int, int]:
        return self._run.learner.updates, self._run.receipts.through, len(self._run.guard.rounds)
