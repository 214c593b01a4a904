# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes the action expert of a pocket VLA on what succeeded and on what a person did, into a new model directory.

`ros2 run rl_learner finetune DATASET... --out DIR`, or `whetstone finetune`. Eyes and words stay frozen, so that
small policies that were trained on the old model's features go on with the new one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from safetensors import SafetensorError
from torch import Tensor, nn

from rl_learner.cli.numbers import count
from rl_learner.cli.robots import dataset_of, episodes_of, shown_to_policy, watcher_of
from rl_learner.core.imitating import worth_imitating
from vla_policy.core.backends.pocket import PocketBackend
from vla_policy.core.flow import Prefix
from vla_policy.core.training.export import export_finetuned
from vla_policy.core.training.finetune import FinetuneConfig, Windows, finetune_soup
from vla_policy.nodes.resources import find
from whetstone_common.core.outputs import OutputError, check_new_folder

_console = Console()
_EVERY = 50  # steps that a shown loss is the mean of


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    defaults = FinetuneConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path, nargs="+", help="folders of LeRobotDatasets of format v3.0")
    parser.add_argument("--out", type=Path, required=True, help="model directory to make")
    parser.add_argument("--model-dir", default="package://vla_policy/models/pocket", help="of a pocket VLA")
    parser.add_argument("--robot", default="sim_panda", help="robot file")
    parser.add_argument("--mapping", type=Path, help="file that says how the datasets record the robot's joints")
    parser.add_argument("--steps", type=count, default=defaults.steps, help="of the optimiser")
    parser.add_argument("--average", type=count, default=1, help="fine-tunings whose weights are averaged")
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--executed", type=count, default=8, help="steps of a chunk before the next look")
    parser.add_argument("--stride", type=count, default=2, help="frames between two windows of a person")
    parser.add_argument("--threads", type=count, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    return parser.parse_args(argv)


def windows_of(args: argparse.Namespace, backend: PocketBackend) -> Iterator[tuple[Prefix, Tensor, Tensor]]:
    """Prefix, state and actions of all windows that are worth imitating.

    Raises:
        DatasetError: A dataset does not fit.
    """
    watcher = watcher_of(args.robot, backend.spec)
    datasets = [dataset_of(path, args.robot, args.mapping) for path in args.datasets]
    with Progress(console=_console) as bars:
        bar = bars.add_task("episodes through the policy", total=sum(len(dataset) for dataset in datasets))
        for dataset in datasets:
            for recorded in episodes_of(dataset, watcher):
                targets = watcher.targets(recorded)
                for frame in worth_imitating(recorded, args.executed, args.stride):
                    with shown_to_policy(dataset, recorded):
                        context = backend.prefix(watcher.observation(recorded, frame))
                    yield context.prefix, context.state, torch.from_numpy(watcher.chunk(recorded, targets, frame))
                bars.advance(bar)
                del recorded  # before the next one is read


def tune(backend: PocketBackend, windows: Windows, config: FinetuneConfig, average: int) -> list[float]:
    """Changes the backend's model; returns the loss of every step."""
    losses: list[float] = []
    with Progress(console=_console) as bars:
        bar = bars.add_task("fine-tuning", total=config.steps * average)

        def report(loss: float) -> None:
            losses.append(loss)
            recent: Sequence[float] = losses[-_EVERY:]
            bars.update(bar, advance=1, description=f"fine-tuning, loss {sum(recent) / len(recent):.3f}")

        finetune_soup(backend.model, windows, config, average, report)
    return losses


def export_model(source: Path, out: Path, model: nn.Module, extra: Mapping[str, Any]) -> None:
    """Writes what was learnt; elsewhere, when the place has become unusable since it was tried.

    Raises:
        OutputError: It is elsewhere; the text says where.
    """
    try:
        export_finetuned(source, out, model, extra)
    except (OSError, SafetensorError) as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="whetstone_finetuned_")) / out.name
        export_finetuned(source, elsewhere, model, extra)
        raise OutputError(f"cannot write {out}: {error}; the model is in {elsewhere}: move it from there") from error


def main(argv: list[str] | None = None) -> int:
    """The whole job; 2 when something does not fit."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    try:
        check_new_folder(args.out)
        config = FinetuneConfig(steps=args.steps, learning_rate=args.learning_rate, seed=args.seed)
        source = find(args.model_dir)
        backend = PocketBackend.load(str(source))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        windows = Windows.of(windows_of(args, backend), args.out.parent)
        losses = tune(backend, windows, config, args.average)
        extra = {
            "finetuned": {
                "windows": len(windows), "steps": args.steps, "averaged": args.average, "loss": round(losses[-1], 4),
            }
        }  # fmt: skip
        export_model(source, args.out, backend.model, extra)
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    _console.print(f"{len(windows)} windows, {args.steps} steps: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
