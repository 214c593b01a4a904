# SPDX-License-Identifier: Apache-2.0
"""What pages may do with recorded episodes: look, say how they ended, delete, restore, export."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from operator_console.core import curation
from operator_console.core.commands import CommandRefusedError
from operator_console.core.library import DELETED, Collection, CollectionKind, Library, ListedEpisode
from operator_console.core.playback import EpisodeReplay, PlaybackError, of_dataset, of_recording
from operator_console.core.run_process import RunProcess
from operator_console.nodes.command_line import COMMAND, cli_problem
from operator_console.web.interface import ProcessView
from whetstone_common.core.run_name import run_name_problem

_OPEN_EPISODES = 2


class RecordingDesk:
    """Looks may come from any thread; what changes something is for the node's own.

    Args:
        folders: Where recordings and datasets lie.
        datasets: Folder that gets the exported ones.
        robot: Robot file of the recordings that are exported.
        note: Is told what became of an export.
    """

    def __init__(self, folders: Sequence[Path], datasets: Path, robot: str, note: Callable[[str, str], object]) -> None:
        self.library, self._datasets = Library(folders), datasets
        self._robot, self._note = robot, note
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[str, str], tuple[float, EpisodeReplay]] = OrderedDict()
        self._process: RunProcess | None = None
        self._is_told = True

    # ---- looks -----------------------------------------------------------------------------------------------------

    def playback(self, collection: str, name: str) -> EpisodeReplay:
        """An episode to look at; the newest ones stay in memory.

        Raises:
            PlaybackError: There is none of that name, or it cannot be read.
        """
        found = self.library.collection(collection)
        row = self.library.row(found, name) if found is not None else None
        if found is None or row is None:
            raise PlaybackError(f"there is no episode {name!r} in {collection!r}")
        key = (collection, name)
        with self._lock:
            if key not in self._open or self._open[key][0] != row.written_s:
                self._open[key] = (row.written_s, _read(found, row))
            self._open.move_to_end(key)
            while len(self._open) > _OPEN_EPISODES:
                self._open.popitem(last=False)
            return self._open[key][1]

    def picture(self, collection: str, name: str, camera: str, step: int) -> bytes | None:
        """JPEG of a step, None where there is none; raises as `playback`."""
        with self._lock:
            kept = self._open.get((collection, name))
        episode = kept[1] if kept is not None else self.playback(collection, name)
        shown = episode.pictures.get(camera, ())
        return shown[step] if 0 <= step < len(shown) else None

    def view(self) -> ProcessView:
        """What pages show of the newest export."""
        process = self._process
        if process is None:
            return ProcessView()
        return ProcessView(process.name, f"{process.name} {process.state}", process.last_lines(), process.is_running)

    # ---- commands --------------------------------------------------------------------------------------------------

    def relabel(self, collection: str, names: Sequence[str], outcome: str) -> str:
        """Give recordings another outcome, or the one that they were recorded with.

        Raises:
            CommandRefusedError: One of them cannot have it.
        """
        rows = self._rows(collection, names)
        if damaged := [row for row in rows if row.problem]:
            raise CommandRefusedError(f"{damaged[0].name} cannot be read: {damaged[0].problem}")
        for path in self._paths(collection, rows):
            curation.relabel(path, outcome)
        return f"{_count(rows)}: {outcome}"

    def trim(self, collection: str, names: Sequence[str], first_step: int, last_step: int | None) -> str:
        """Let only these steps of recordings count, from 0; 0 and None for all. Answers count from 1, as pages do.

        Raises:
            CommandRefusedError: One of them does not have these steps.
        """
        rows = self._rows(collection, names)
        last = first_step if last_step is None else last_step
        for row in rows:
            if row.problem or last >= row.steps:
                why = row.problem or f"it has steps 1 to {row.steps}, asked for {first_step + 1} to {last + 1}"
                raise CommandRefusedError(f"{row.name}: {why}")
        for path in self._paths(collection, rows):
            curation.trim(path, first_step, last_step)
        return f"{_count(rows)}: steps {first_step + 1} to {'the last' if last_step is None else last_step + 1} count"

    def delete(self, collection: str, names: Sequence[str]) -> str:
        """Move recordings aside.

        Raises:
            CommandRefusedError: One of them cannot be moved.
        """
        rows = self._rows(collection, names)
        for path in self._paths(collection, rows):
            curation.delete(path)
        return f"{_count(rows)} moved to {Path(collection) / DELETED}; tick and restore them there"

    def restore(self, collection: str, names: Sequence[str]) -> str:
        """Move deleted recordings back.

        Raises:
            CommandRefusedError: One of them cannot be moved.
        """
        rows = self._rows(collection, names)
        for path in self._paths(collection, rows):
            curation.restore(path)
        return f"{_count(rows)} restored"

    def export(self, collection: str, names: Sequence[str], dataset: str) -> str:
        """Begin to write recordings as a LeRobotDataset.

        Raises:
            CommandRefusedError: They cannot be exported, or another export runs.
        """
        rows = self._rows(collection, names)
        if problem := cli_problem() or run_name_problem(dataset, "dataset"):
            raise CommandRefusedError(problem)
        if deleted := [row.name for row in rows if row.is_deleted]:
            raise CommandRefusedError(f"{deleted[0]} is deleted: restore it first")
        target = self._datasets / dataset
        if target.exists():
            raise CommandRefusedError(f"{target} exists: choose another name")
        if self._process is not None and self._process.is_running:
            raise CommandRefusedError(f"the {self._process.name} runs: one at a time")
        words = ["export", collection, str(target), f"--robot={self._robot}", "--skip-damaged"]
        try:
            self._process = RunProcess(
                f"export to {target}", [*COMMAND, *words, *(f"--only={row.name}" for row in rows)]
            )
        except OSError as error:
            raise CommandRefusedError(f"the export could not be started: {error}") from error
        self._is_told = False
        return f"{_count(rows)}: exported to {target}"

    def update(self) -> None:
        """Tell the log when an export has ended."""
        if self._process is None or self._is_told or self._process.is_running:
            return
        self._is_told = True
        self._note(self._process.name, ": ".join([self._process.state, *self._process.last_lines()[-1:]]))

    def close(self) -> None:
        """The console ends, and an export with it; its unfinished folder is removed by itself."""
        if self._process is not None:
            self._process.interrupt()

    def _rows(self, collection: str, names: Sequence[str]) -> list[ListedEpisode]:
        """Episodes of those names, of a folder of recordings."""
        found = self.library.collection(collection)
        if found is None:
            raise CommandRefusedError(f"there is no folder {collection!r} of episodes")
        if found.kind is CollectionKind.DATASET:
            raise CommandRefusedError(f"{collection} is a dataset: change the recordings, and export them again")
        if not names:
            raise CommandRefusedError("no episode is ticked")
        rows = [(name, self.library.row(found, name)) for name in names]
        if missing := [name for name, row in rows if row is None]:
            raise CommandRefusedError(f"there is no episode {missing[0]!r} in {collection}")
        return [row for _, row in rows if row is not None]

    @staticmethod
    def _paths(collection: str, rows: Sequence[ListedEpisode]) -> list[Path]:
        return [Path(collection) / row.name for row in rows]


def _read(collection: Collection, row: ListedEpisode) -> EpisodeReplay:
    if row.problem:
        raise PlaybackError(f"{row.name}: {row.problem}")
    if collection.kind is CollectionKind.DATASET:
        return of_dataset(collection.path, int(row.name))
    return of_recording(collection.path / row.name)


def _count(rows: Sequence[ListedEpisode]) -> str:
    return "1 episode" if len(rows) == 1 else f"{len(rows)} episodes"
