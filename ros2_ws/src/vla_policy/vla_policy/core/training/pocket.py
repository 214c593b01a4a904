# SPDX-License-Identifier: Apache-2.0
"""Trains the pocket VLA: `python -m vla_policy.core.training.pocket --data data/pocket --out runs/pocket`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import torch

from vla_policy.core.architecture import PocketShape
from vla_policy.core.normalise import PolicyStats
from vla_policy.core.tokenizer import WordTokenizer
from vla_policy.core.training.dataset import ChunkDataset, Demo, load_demos
from vla_policy.core.training.trainer import StepResult, TrainConfig, Trainer, latest_checkpoint

Reporter = Callable[[StepResult], None]


def say(line: str) -> None:
    """One line of progress, shown at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def split(demos: list[Demo], held_out_per_instruction: int) -> tuple[list[Demo], list[Demo]]:
    """Training and held-out demonstrations; the last of each instruction are held out."""
    seen: dict[str, list[int]] = {}
    for i, demo in enumerate(demos):
        seen.setdefault(demo.instruction, []).append(i)
    held = {i for members in seen.values() for i in members[len(members) - held_out_per_instruction :]}
    return [d for i, d in enumerate(demos) if i not in held], [d for i, d in enumerate(demos) if i in held]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Every field of TrainConfig is an option of the same name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", default=[Path("data/pocket")])
    parser.add_argument("--scenes-data", type=Path, default=None, help="frames for detection alone")
    parser.add_argument("--out", type=Path, default=Path("runs/pocket"))
    parser.add_argument("--limit-per-task", type=int, default=None)
    parser.add_argument("--held-out", type=int, default=1, help="demonstrations per instruction kept for validation")
    parser.add_argument("--action-space", choices=("cartesian", "joint"), default="cartesian")
    parser.add_argument("--start-from", type=Path, default=None, help="checkpoint whose weights to start from")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=500)
    for field in fields(TrainConfig):
        name, default = "--" + field.name.replace("_", "-"), getattr(TrainConfig(), field.name)
        if isinstance(default, bool):
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=default)
        else:
            parser.add_argument(name, type=type(default), default=default)
    return parser.parse_args(argv)


def build(args: argparse.Namespace) -> tuple[Trainer, ChunkDataset | None]:
    """Trainer, resumed where a checkpoint exists, and the validation set."""
    config = TrainConfig(**{f.name: getattr(args, f.name) for f in fields(TrainConfig)})
    demos = [d for folder in args.data for d in load_demos(folder, args.limit_per_task)]
    train, held = split(demos, args.held_out)
    if args.scenes_data is not None:
        train += load_demos(args.scenes_data)
    newest = latest_checkpoint(args.out)
    origin = newest or args.start_from  # statistics are those the weights know, also when data were added
    given = PolicyStats.load(origin / "stats.json") if origin else None
    data = ChunkDataset(train, action_space=args.action_space, stats=given)
    tokenizer = WordTokenizer.from_texts(data.instructions)
    dims = {"cartesian": (7, 10), "joint": (8, 8)}[args.action_space]
    shape = PocketShape(image_size_px=train[0].front.shape[1], action_dim=dims[0], proprio_dim=dims[1])
    trainer = Trainer(config, shape, data, tokenizer)
    validation = None
    if held:
        validation = ChunkDataset(held, action_space=args.action_space, stats=data.stats)
        validation.use_detection_stats(data.detection_stats)
    if newest is not None:
        trainer.resume(newest)
    elif args.start_from is not None:
        trainer.start_from(args.start_from)
    say(f"{len(train)} demonstrations, {len(data)} windows, {len(held)} held out, starting at step {trainer.step}")
    return trainer, validation


def run(args: argparse.Namespace, report: Reporter) -> Trainer:
    """Trains to the end of the schedule, saving every `save_every` steps."""
    from torch.utils.tensorboard import SummaryWriter

    torch.set_num_threads(args.threads)
    trainer, validation = build(args)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "train.json").write_text(json.dumps(asdict(trainer.config), indent=1) + "\n", encoding="utf-8")
    writer = SummaryWriter(str(args.out / "tb"))
    while trainer.step < trainer.config.steps:
        result = trainer.advance()
        report(result)
        if result.step % 20 == 0:
            for name in ("flow", "detection", "grad_norm", "rate"):
                writer.add_scalar(f"train/{name}", getattr(result, name), result.step)
        if trainer.step % args.save_every == 0 or trainer.step == trainer.config.steps:
            trainer.save(args.out / f"step-{trainer.step:06d}")
            if validation is not None:
                for name, value in (figures := trainer.validate(validation)).items():
                    writer.add_scalar(f"held_out/{name}", value, trainer.step)
                say("held out: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))
    writer.close()
    return trainer


def print_every(every: int, total: int) -> Reporter:
    """A reporter that prints the mean of the last `every` steps."""
    recent: list[StepResult] = []

    def report(result: StepResult) -> None:
        recent.append(result)
        if len(recent) == every:
            flow = sum(r.flow for r in recent) / every
            detection = sum(r.detection for r in recent) / every
            say(
                f"step {result.step + 1}/{total} flow {flow:.4f} detection {detection:.4f} "
                f"norm {result.grad_norm:.2f} lr {result.rate:.1e}"
            )
            recent.clear()

    return report


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    args = parse(argv)
    run(args, print_every(50, args.steps))
    return 0


if __name__ == "__main__":
    sys.exit(main())
