# SPDX-License-Identifier: Apache-2.0
"""The trainer that all post-training shares: datasets in, what a method picks of them fitted, a model directory out.

Legend: W windows, A action dims, P proprioception dims.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from experience.core.dataset import Dataset, DatasetEpisode
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from rl_learner.core.held_out import HeldOutEpisodes
from rl_learner.core.model_workshop import ModelWorkshop
from rl_learner.core.recorded import check_dataset, episodes_of, shown_to_policy
from rl_methods.base import Report, Sample, Select
from vla_policy.core.backends.pi0 import Pi0Backend
from vla_policy.core.normalise import PolicyStats, Stats
from vla_policy.core.protocol import Observation, PolicySpec
from vla_policy.core.serving import weights_sha256
from vla_policy.core.training.room import DiskRoom, check_memory
from vla_policy.core.training.run import LossReport
from vla_policy.core.training.settings import DataConfig, SftConfig
from vla_policy.core.training.sft import SftData, SftRun
from vla_policy.core.training.trainable import Trainable
from vla_policy.core.training.windows import ImageRow, ImageWindows, PrefixRow, Windows
from whetstone_common.core.outputs import OutputError

if TYPE_CHECKING:
    from accelerate import Accelerator

_STATISTICS: dict[str, Callable[..., Stats]] = {"zscore": Stats.of, "quantile": Stats.of_quantiles}
_CLIPPED = 0.01  # share of labels from which on clipping is said


@dataclass(frozen=True)
class DatasetRobot:
    """What a robot's recordings are read with.

    Attributes:
        dataset: Opens a dataset in the robot's names, order and units.
        watcher: Sees its recordings with the eyes of a policy.
    """

    dataset: Callable[[Path], Dataset]
    watcher: Callable[[PolicySpec], EpisodePreprocessor]


@dataclass
class _Count:
    """What went by."""

    episodes: int = 0
    successes: int = 0
    used: int = 0
    clipped: int = 0
    labels: int = 0
    held_out: list[bool] = field(default_factory=list)  # of each window


@dataclass(eq=False)
class DatasetTrainer(ModelWorkshop):
    """`rl_methods.base.VlaTrainer`.

    Attributes:
        robot: Whose recordings they are.
        data: How they become windows.
        config: Of the optimiser.
        progress: Told each step.
        accelerator: Spreads the work over devices and processes, None for this process's CPU.
        work: Folder of checkpoints; a training that was killed goes on from it. None keeps none.
        extra: Further entries of the manifest.
    """

    robot: DatasetRobot
    data: DataConfig
    config: SftConfig
    progress: LossReport = field(default_factory=LossReport)
    accelerator: Accelerator | None = None
    work: Path | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def fit(self, model: Path, datasets: Sequence[Path], out: Path, select: Select, report: Report) -> Path:
        """See `VlaTrainer.fit`; what cannot fit into memory or on the disk is refused as `ValueError`."""
        opened = [self.robot.dataset(folder) for folder in datasets]
        check_memory(model, self.config, self._device)
        vla = Trainable.load(model)
        watcher = self.robot.watcher(_spec(vla))
        for dataset in opened:
            check_dataset(dataset, watcher)
        if (statistics := _STATISTICS.get(self.data.normalise)) is not None:
            vla.with_stats(self._statistics(vla, opened, watcher, select, statistics))
            watcher = self.robot.watcher(_spec(vla))
        out.parent.mkdir(parents=True, exist_ok=True)
        data, count = self._windows(vla, opened, watcher, select, out.parent, report)
        vla.freeze(self.config.scope, self.config.lora)
        origin = {
            "model": weights_sha256(model), "windows": len(data.windows), "datasets": [str(path) for path in datasets],
        }  # fmt: skip
        vla.install(self._train(vla, data, origin))
        figures = {"windows": len(data.train), "episodes": count.used, "averaged": self.config.average}
        if self.accelerator is None or self.accelerator.is_main_process:
            _export(vla, out, {"finetuned": {**asdict(self.config), **figures}, **self.extra})
        return out

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self.accelerator is None else self.accelerator.device

    # ---- data ------------------------------------------------------------------------------------------------------

    def _windows(
        self,
        vla: Trainable,
        opened: Sequence[Dataset],
        watcher: EpisodePreprocessor,
        select: Select,
        folder: Path,
        report: Report,
    ) -> tuple[SftData, _Count]:
        """Everything that was picked, on disk, and which of it is put aside.

        Raises:
            ValueError: A dataset cannot be used, or nothing was picked.
        """
        count = _Count()
        room = DiskRoom(folder, sum(map(len, opened)))
        rows = self._rows(vla, opened, watcher, select, count, room)
        is_whole = self.config.scope == "whole"
        try:
            windows: Any = ImageWindows.of(rows, folder) if is_whole else Windows.of(rows, folder)  # type: ignore[arg-type]
        except ValueError as error:
            if count.episodes and not count.used:
                raise ValueError(_nothing(opened, count)) from error
            raise
        held = torch.tensor(count.held_out)
        if bool(held.all()):
            raise ValueError(f"{opened[0].root}: all {count.used} episodes would be put aside: use --held-out 0")
        report(f"{len(windows)} windows of {count.used} of {count.episodes} episodes, {int(held.sum())} put aside")
        if count.clipped > _CLIPPED * count.labels:
            report(
                f"{100 * count.clipped / count.labels:.1f} % of the labels lie beyond {self.data.clip:g} after "
                "normalisation and were cut: other statistics may fit better (--normalise)"
            )
        return SftData(windows, torch.nonzero(~held)[:, 0], torch.nonzero(held)[:, 0]), count

    def _rows(
        self,
        vla: Trainable,
        opened: Sequence[Dataset],
        watcher: EpisodePreprocessor,
        select: Select,
        count: _Count,
        room: DiskRoom,
    ) -> Iterator[PrefixRow | ImageRow]:
        backend = Pi0Backend(vla.parts, device=str(self._device))
        aside = HeldOutEpisodes(self.data.held_out, sum(map(len, opened)), self.data.seed)
        for dataset in opened:
            for recorded in episodes_of(dataset, watcher):
                count.episodes += 1
                count.successes += recorded.success
                samples = select(dataset.root, recorded)
                if not samples:
                    continue
                is_aside = aside.next()
                count.used += 1
                targets = watcher.targets(recorded)
                for sample in samples:
                    chunk = self._clipped(watcher.chunk(recorded, targets, sample.frame), count)
                    with shown_to_policy(dataset, recorded):
                        observation = _observed(watcher, recorded, sample)
                        row = (
                            vla.image_row(observation, chunk, sample.weight)
                            if self.config.scope == "whole"
                            else vla.row(backend, observation, chunk, sample.weight)
                        )
                    count.held_out.append(is_aside)
                    room.add(row)
                    yield row
                room.check(count.episodes)
                del recorded  # before the next one is read

    def _clipped(self, chunk: np.ndarray, count: _Count) -> np.ndarray:
        count.labels += chunk.size
        count.clipped += int((np.abs(chunk) > self.data.clip).sum())
        return np.clip(chunk, -self.data.clip, self.data.clip)

    def _statistics(
        self,
        vla: Trainable,
        opened: Sequence[Dataset],
        watcher: EpisodePreprocessor,
        select: Select,
        statistics: Callable[[np.ndarray], Stats],
    ) -> PolicyStats:
        """Of what was picked: chunks [., A] relative to their start, and proprioception [., P]."""
        before = vla.parts.stats
        chunks, proprio, words, spec = [], [], set(before.instructions), watcher.spec
        for dataset in opened:
            for recorded in episodes_of(dataset, watcher):
                samples, targets = select(dataset.root, recorded), watcher.targets(recorded)
                words |= {recorded.instruction} if samples else set()
                for sample in samples:
                    chunks.append(spec.denormalise(watcher.chunk(recorded, targets, sample.frame)))
                    proprio.append(watcher.proprio(recorded, sample.frame))
                del recorded
        if not chunks:
            raise ValueError(f"{opened[0].root}: nothing to take statistics of: no episode gives anything to imitate")
        return replace(
            before,
            action=statistics(np.stack(chunks)),
            proprio=statistics(np.stack(proprio)),
            instructions=tuple(sorted(words)),
        )

    # ---- training --------------------------------------------------------------------------------------------------

    def _train(self, vla: Trainable, data: SftData, origin: dict[str, Any]) -> dict[str, Tensor]:
        """Weights to ship: of one fine-tuning, or the mean of several from the same start."""
        start = {name: value.detach().clone() for name, value in _moving(vla)}
        mean: dict[str, Tensor] = {}
        with tempfile.TemporaryDirectory(prefix="whetstone_training_") as nowhere:
            folder = Path(nowhere) if self.work is None else self.work
            for number in range(self.config.average):
                vla.model.load_state_dict(start, strict=False)
                config = replace(self.config, seed=self.config.seed + number)
                run = SftRun(vla.model, data, config, folder / f"seed-{config.seed}", origin, self.accelerator)
                for name, value in run.run(self.progress).items():
                    part = value / self.config.average if value.is_floating_point() else value
                    mean[name] = mean[name] + part if name in mean and value.is_floating_point() else part
        return mean


def _moving(vla: Trainable) -> Iterator[tuple[str, Tensor]]:
    return ((name, value) for name, value in vla.model.named_parameters() if value.requires_grad)


def _spec(vla: Trainable) -> PolicySpec:
    return Pi0Backend(vla.parts).spec


def _observed(watcher: EpisodePreprocessor, recorded: DatasetEpisode, sample: Sample) -> Observation:
    observation = watcher.observation(recorded, sample.frame)
    return replace(observation, instruction=sample.instruction) if sample.instruction else observation


def _nothing(opened: Sequence[Dataset], count: _Count) -> str:
    where = ", ".join(str(dataset.root) for dataset in opened)
    if not count.successes:
        return f"{where}: none of {count.episodes} episodes succeeded: there is nothing to imitate"
    return (
        f"{where}: {count.successes} of {count.episodes} episodes succeeded, and none of them has a moment that this "
        "method imitates"
    )


def _export(vla: Trainable, out: Path, extra: dict[str, Any]) -> None:
    """Write what was learnt; elsewhere, when the place has become unusable since it was tried.

    Raises:
        OutputError: It is elsewhere; the text says where.
    """
    try:
        vla.export(out, extra)
    except (OSError, SafetensorError) as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="whetstone_finetuned_")) / out.name
        vla.export(elsewhere, extra)
        raise OutputError(f"cannot write {out}: {error}; the model is in {elsewhere}: move it from there") from error
