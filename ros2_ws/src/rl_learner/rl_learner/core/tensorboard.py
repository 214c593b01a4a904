# SPDX-License-Identifier: Apache-2.0
"""A run's figures as TensorBoard reads them: one folder over updates, one over episodes.

Two folders, because what a killed run had written after its last checkpoint is taken back by step (`purge_step`), and
the two count different steps. TensorBoard's writer keeps a thread of its own for the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rl_learner.core.intake import ArrivingEpisode
from rl_learner.core.training_run import TrainingRun

EVERY = 50  # updates
_QUEUE = 1000  # events that wait for the disk before whoever learns does
_FLUSH_S = 5

OpenWriter = Callable[[Path, int], Any]
"""A writer into a folder, in which steps from the given one on are void."""
_Figures: TypeAlias = list[tuple[ArrivingEpisode, dict[str, float]]]


class TensorBoardLogger:
    """Writes scalars; belongs to the thread that owns the session, and never keeps it from learning.

    Args:
        folder: Gets the folders `updates` and `episodes`, each when there is something to write.
        session: As it starts or goes on.
        warn: Told once why nothing is written any more.
        open_writer: Makes a writer.
    """

    def __init__(
        self, folder: Path, session: TrainingRun, warn: Callable[[str], None], open_writer: OpenWriter | None = None
    ) -> None:
        self._folder, self._warn, self._open_writer = folder, warn, open_writer or summary_writer
        self._void_from = {"updates": session.learner.updates + 1, "episodes": session.tally.finished + 1}
        self._writers: dict[str, Any] = {}
        self._updates, self._written = session.learner.updates, session.tally.finished
        self._open, self._whole = self._parted(session)
        self._is_broken = False

    def on_update(self, session: TrainingRun) -> None:
        """After an update."""
        updates = session.learner.updates
        if updates > self._updates and updates % EVERY == 0:
            self._updates = updates
            tally = session.tally
            run = {"buffer": len(session.data.online), "behind": session.due, "robot_steps": tally.steps}
            self._write(
                "updates", updates, session.learning.metrics | {f"run/{name}": value for name, value in run.items()}
            )

    def on_transition(self, session: TrainingRun) -> None:
        """After a transition: an episode is written when all of it has come, or its robot's next one begins."""
        is_open, whole = self._parted(session)
        arriving = list(session.tally.arriving.values())
        cut = [figures for episode, figures in self._open if not _is_among(episode, arriving)]
        fresh = [figures for episode, figures in whole if not _is_among(episode, [each for each, _ in self._whole])]
        self._open, self._whole = is_open, whole
        for figures in (*cut, *fresh):
            self._written += 1
            self._write("episodes", self._written, figures)

    def close(self) -> None:
        """Write what waits."""
        for writer in self._writers.values():
            self._guarded(writer.close)
        self._writers = {}

    def _parted(self, session: TrainingRun) -> tuple[_Figures, _Figures]:
        """The newest episodes with their figures: those that still arrive, and those that have come."""
        counts = {"run/buffer": len(session.data.online), "run/updates": session.learner.updates}
        newest = [(each, counts | episode_figures(each)) for each in session.tally.arriving.values()]
        return [each for each in newest if not each[0].is_whole], [each for each in newest if each[0].is_whole]

    def _write(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        def write() -> None:
            if kind not in self._writers:
                self._writers[kind] = self._open_writer(self._folder / kind, self._void_from[kind])
            for name, value in figures.items():
                self._writers[kind].add_scalar(name, value, step)

        if not self._is_broken:
            self._guarded(write)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - a picture of the run is never worth the run
            if not self._is_broken:
                self._warn(f"no more TensorBoard events in {self._folder}: {error}")
            self._is_broken = True


def _is_among(episode: ArrivingEpisode, episodes: Sequence[ArrivingEpisode]) -> bool:
    return any(episode is each for each in episodes)


def episode_figures(episode: ArrivingEpisode) -> dict[str, float]:
    """Figures of an episode; without the share of edits where the policy was never asked."""
    figures = {
        "episode/success": float(episode.success),
        "episode/steps": float(episode.length),
        "episode/human_share": episode.episode_human_steps / max(1, episode.covered),
    }
    if episode.episode_chunks:
        figures["episode/edit_share"] = episode.episode_steered / episode.episode_chunks
    return figures


def summary_writer(folder: Path, void_from: int) -> Any:
    """TensorBoard's own; imported here, because a run that writes nothing does without it."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=void_from, max_queue=_QUEUE, flush_secs=_FLUSH_S)
