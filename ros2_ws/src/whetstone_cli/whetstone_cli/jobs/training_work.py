# SPDX-License-Identifier: Apache-2.0
"""What trainings of a VLA have in common as jobs: their folder, their progress, the graphs that they leave."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from vla_policy.core.backends.onnx_cache import exported
from vla_policy.core.published.detect import is_pocket
from vla_policy.core.training.loop import StepMetrics
from vla_policy.core.training.run import LossReport
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.exporting import export_dataset
from whetstone_common.core.outputs import OutputError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_console = Console(soft_wrap=True)  # a line of a log stays one line
_CHECKPOINTS = "seed-*/step-*"
_EVERY = 50  # steps that a shown loss is the mean of


def say(line: str) -> None:
    """Print a line as it is."""
    _console.print(line, highlight=False)


@dataclass(frozen=True)
class WorkFolder:
    """What a training needs on its way: checkpoints, datasets made of recordings, curves.

    Attributes:
        path: Beside the model that is made, so that whoever goes on finds it.
    """

    path: Path

    @classmethod
    def beside(cls, out: Path, *, resume: bool) -> WorkFolder:
        """Of a model directory.

        Raises:
            OutputError: There is one already and nobody wants to go on with it, or there is none to go on with.
        """
        work = cls(out.with_name(f"{out.name}.training"))
        is_begun = any(work.path.glob(_CHECKPOINTS))
        if is_begun and not resume:
            raise OutputError(f"{work.path} holds a training that was stopped: go on with --resume, or remove it")
        if resume and not is_begun:
            raise OutputError(f"{work.path} holds no checkpoint to go on from: leave out --resume")
        return work

    def dataset(self, number: int, source: Path, robot: str) -> Path:
        """A LeRobotDataset of a source, made of its recordings where it is none yet.

        Raises:
            ValueError: It is neither, or no recording can be used.
        """
        recordings = [source] if source.suffix == ".mcap" else sorted(source.glob("*.mcap"))
        if not recordings or (source / "meta" / "info.json").is_file():
            return source
        made = self.path / f"dataset-{number}"
        if not made.is_dir():
            done = export_dataset(recordings, made, robot, skip_damaged=True)
            for text in done.skipped:
                _console.print(f"left out: {text}", style="yellow", highlight=False)
        return made

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Make the folder; a refusal removes it, unless something was learnt that can be gone on with."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            yield
        except (ValueError, UserError):
            if not any(self.path.glob(_CHECKPOINTS)):
                shutil.rmtree(self.path, ignore_errors=True)
            raise

    def clear(self) -> None:
        """Remove what nobody needs after the end; the curves stay."""
        for pattern in ("seed-*", "dataset-*"):
            for folder in self.path.glob(pattern):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def shown(steps: int, work: WorkFolder, *, quiet: bool = False) -> Iterator[LossReport]:
    """A bar of so many steps, TensorBoard curves and a line per held-out loss; nothing of it where `quiet`."""
    if quiet:
        yield LossReport()
        return
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(work.path / "tensorboard"))
    with Progress(console=_console) as bars:
        bar = bars.add_task("training", total=steps)
        yield LossReport(_on_step(writer, bars, bar), _on_held_out(writer))
    writer.close()


def _on_step(writer: SummaryWriter, bars: Progress, bar: object) -> Callable[[StepMetrics], None]:
    losses: list[float] = []

    def tell(metrics: StepMetrics) -> None:
        losses.append(metrics.losses["loss"])
        recent = losses[-_EVERY:]
        text = f"training, loss {sum(recent) / len(recent):.3f}"
        bars.update(bar, advance=1, description=text)  # type: ignore[arg-type]
        for name, value in {**metrics.losses, "grad_norm": metrics.grad_norm, "rate": metrics.rate}.items():
            writer.add_scalar(f"train/{name}", value, metrics.step)

    return tell


def _on_held_out(writer: SummaryWriter) -> Callable[[int, float], None]:
    def tell(step: int, loss: float) -> None:
        writer.add_scalar("held_out/loss", loss, step)
        _console.print(f"step {step}: held-out loss {loss:.4f}", highlight=False)

    return tell


def export_graphs(model: Path) -> None:
    """The graphs that vla_node serves, made where torch is loaded: there it would take time from what is served."""
    if not is_pocket(model):
        return  # a published checkpoint is served as it is
    try:
        exported(model)
    except OSError as error:
        say(f"its ONNX form is made when it is first served, it cannot be kept now: {error}")
