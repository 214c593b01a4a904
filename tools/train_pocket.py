# SPDX-License-Identifier: Apache-2.0
"""`make pocket`: demonstrations, training, eyes and the sealed model directory, each step resumable.

python tools/train_pocket.py collect   # demonstrations and scenes into data/
python tools/train_pocket.py train     # runs/pocket, continues where it was stopped
python tools/train_pocket.py token     # RL token of the newest checkpoint, then the base's directory
python tools/train_pocket.py views     # moments that the base visits, failures included, into data/
python tools/train_pocket.py eyes      # what reads the hand-frame state from them
python tools/train_pocket.py hands     # the base's action expert, fine-tuned on fewer demonstrations
python tools/train_pocket.py ship      # all of it into the model directory
python tools/train_pocket.py all       # these in turn; measure with tools/eval_pocket.py
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent
SOURCES = ROOT / "ros2_ws" / "src"
MODEL = SOURCES / "vla_policy" / "models" / "pocket"
EYES_REPORT_STEPS, EYES_SAVE_STEPS = 50, 100
HELD_OUT_EVERY = 20  # of the demonstrations that the action expert is fine-tuned on
sys.path[:0] = [str(SOURCES / package) for package in ("whetstone_common", "rl_methods", "vla_policy")]


def collect(args: argparse.Namespace) -> None:
    """Fills the data folders; what is there already is kept."""
    jobs = (
        ("collect_demos.py", args.data / "pocket", ["--episodes", str(args.demos)]),
        ("collect_scenes.py", args.data / "scenes", ["--scenes", str(args.scenes)]),
    )
    for script, out, options in jobs:
        subprocess.run([sys.executable, str(TOOLS / script), "--out", str(out), *options], check=True)


def views(args: argparse.Namespace) -> None:
    """Fills the folder of moments that the base visits."""
    options = ["--out", str(args.data / "views"), "--model", str(args.base), "--episodes", str(args.views)]
    subprocess.run([sys.executable, str(TOOLS / "collect_views.py"), *options], check=True)


def train(args: argparse.Namespace) -> None:
    """Trains to the end of the schedule."""
    from vla_policy.core.training import pocket

    options = ["--data", str(args.data / "pocket"), "--scenes-data", str(args.data / "scenes")]
    options += ["--out", str(args.run), "--steps", str(args.steps), "--threads", str(args.threads)]
    pocket.main(options)


def eyes(args: argparse.Namespace) -> None:
    """Trains the eyes on rendered moments and demonstrations, for the policy whose statistics and words they share."""
    import torch

    from vla_policy.core.eyes import EyesShape
    from vla_policy.core.normalise import PolicyStats
    from vla_policy.core.tokenizer import WordTokenizer
    from vla_policy.core.training.dataset import episode_files
    from vla_policy.core.training.eyes import EyesConfig, EyesData, EyesRun

    torch.set_num_threads(args.threads)
    stats, tokenizer = PolicyStats.load(args.base / "stats.json"), WordTokenizer.load(args.base / "vocab.json")
    views, demos = episode_files(args.data / "views"), episode_files(args.data / "pocket")
    data = EyesData(views, demos, stats.proprio, tokenizer)
    config = EyesConfig(steps=args.eyes_steps)
    shape = EyesShape(tokenizer.vocab_size, tokenizer.prompt_length, proprio_dim=stats.proprio.dim)
    run = EyesRun(data, shape, config, args.run / "eyes")
    print(f"{len(data)} moments, starting at step {run.step}", flush=True)
    recent: list[dict[str, float]] = []
    while run.step < config.steps:
        recent.append(run.advance())
        if run.step % EYES_REPORT_STEPS == 0:
            means = {name: sum(losses[name] for losses in recent) / len(recent) for name in recent[0]}
            line = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
            print(f"eyes step {run.step}/{config.steps} {line}", flush=True)
            recent.clear()
        if run.step % EYES_SAVE_STEPS == 0 or run.step == config.steps:
            run.save()


def token(args: argparse.Namespace) -> None:
    """Trains the RL token on a frozen checkpoint and writes the base's directory."""
    import torch

    from vla_policy.core.architecture import build_model, pocket_config
    from vla_policy.core.normalise import PolicyStats
    from vla_policy.core.tensor_files import load_strictly, read_tensors
    from vla_policy.core.tokenizer import WordTokenizer
    from vla_policy.core.training.dataset import ChunkDataset, load_demos
    from vla_policy.core.training.export import export, shape_of, token_shape_of
    from vla_policy.core.training.token import TokenConfig, train_token
    from vla_policy.core.training.trainer import latest_checkpoint

    torch.set_num_threads(args.threads)
    checkpoint = args.checkpoint or latest_checkpoint(args.run)
    if checkpoint is None:
        raise SystemExit(f"{args.run} has no complete checkpoint: run `train` first")
    shape, tokenizer = shape_of(checkpoint), WordTokenizer.load(checkpoint / "vocab.json")
    model = build_model(pocket_config(shape, tokenizer.vocab_size))
    model.set_attn_implementation("eager")
    weights = read_tensors(checkpoint / "ema.safetensors")
    own = {k.removeprefix("model."): v for k, v in weights.items() if k.startswith("model.")}
    load_strictly(model, own, str(checkpoint))
    stats = PolicyStats.load(checkpoint / "stats.json")
    data = ChunkDataset(load_demos(args.data / "pocket", args.token_demos), stats=stats)
    started, losses = time.monotonic(), []

    def report(step: int, loss: float) -> None:
        losses.append(loss)
        if (step + 1) % 50 == 0:
            print(f"token step {step + 1}/{args.token_steps} loss {sum(losses[-50:]) / 50:.4f}", flush=True)

    config = TokenConfig(steps=args.token_steps)
    encoder = train_token(model, data, tokenizer, (shape, token_shape_of(shape)), config, report)
    extra = {"token_steps": config.steps, "token_loss": round(sum(losses[-50:]) / len(losses[-50:]), 4)}
    export(checkpoint, args.base, model_id="pocket-base", encoder=encoder, flow_steps=args.flow_steps, extra=extra)
    print(json.dumps({"model": str(args.base), "seconds": round(time.monotonic() - started), **extra}))


def hands(args: argparse.Namespace) -> None:
    """Fine-tunes the base's action expert on demonstrations; what it sees stays as it is."""
    import torch

    from vla_policy.core.training.dataset import episode_files
    from vla_policy.core.training.demo_windows import prefix_rows, window_count
    from vla_policy.core.training.run import LossReport
    from vla_policy.core.training.settings import SftConfig
    from vla_policy.core.training.sft import SftData, SftRun
    from vla_policy.core.training.trainable import Trainable
    from vla_policy.core.training.windows import Windows

    if (out := args.run / "hands" / "model").is_dir():
        print(f"{out} is there already")
        return
    torch.set_num_threads(args.threads)
    vla = Trainable.load(args.base)
    args.run.mkdir(parents=True, exist_ok=True)
    files = episode_files(args.data / "pocket", args.hands_demos)
    held_out = files[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    learnt = [path for path in files if path not in held_out]
    windows = Windows.of(prefix_rows(vla.parts, [*learnt, *held_out], args.stride), args.run)
    first = window_count(learnt, args.stride)
    print(f"{len(learnt)} demonstrations, {first} windows; {len(held_out)} held out", flush=True)
    config = SftConfig(steps=args.hands_steps, ema_decay=0.995, save_every=100)
    vla.freeze(config.scope, config.lora)
    report = LossReport(held_out=lambda step, loss: print(f"hands step {step}, held-out loss {loss:.4f}", flush=True))
    every = torch.arange(len(windows))
    run = SftRun(vla.model, SftData(windows, every[:first], every[first:]), config, args.run / "hands")
    vla.install(run.run(report))
    vla.export(out, {"hands_steps": config.steps, "hands_demos": len(learnt)})


def ship(args: argparse.Namespace) -> None:
    """Puts the action expert and the eyes into the model directory."""
    from vla_policy.core.backends.pocket import EYES
    from vla_policy.core.files import read_manifest
    from vla_policy.core.training.directories import sealed_with
    from vla_policy.core.training.eyes import trained_eyes

    eyes, whole = trained_eyes(args.run / "eyes"), args.run / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    source = args.base if args.keep_hands else args.run / "hands" / "model"
    steps = read_manifest(args.run / "eyes")["step"]
    entries = {"model_id": args.model_id, "eyes": asdict(eyes.shape), "eyes_steps": steps}
    sealed_with(source, whole, {EYES: eyes.state_dict()}, entries)
    args.model.mkdir(parents=True, exist_ok=True)
    (args.model / "manifest.json").unlink(missing_ok=True)
    for path in sorted(whole.iterdir(), key=lambda path: path.name == "manifest.json"):
        partial = args.model / f"{path.name}.partial"  # files may be links to those of the base, and the base this one
        shutil.copyfile(path, partial)
        partial.replace(args.model / path.name)


def main() -> int:
    """Command line."""
    steps = (collect, train, token, views, eyes, hands, ship)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=(*(step.__name__ for step in steps), "all"))
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "pocket")
    parser.add_argument("--base", type=Path, default=None, help="policy to begin with; RUN/base by default")
    parser.add_argument("--model", type=Path, default=MODEL, help="directory that `ship` fills")
    parser.add_argument("--model-id", default="pocket-2")
    parser.add_argument("--checkpoint", type=Path, default=None, help="of `token`; the newest by default")
    parser.add_argument("--demos", type=int, default=400, help="per task")
    parser.add_argument("--scenes", type=int, default=1650, help="per task")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--token-steps", type=int, default=1000)
    parser.add_argument("--token-demos", type=int, default=100, help="demonstrations per task for the token")
    parser.add_argument("--views", type=int, default=400, help="episodes per task for the eyes")
    parser.add_argument("--eyes-steps", type=int, default=3000)
    parser.add_argument("--hands-demos", type=int, default=125, help="demonstrations per task for the action expert")
    parser.add_argument("--hands-steps", type=int, default=2000)
    parser.add_argument("--stride", type=int, default=2, help="ticks between two windows of the action expert")
    parser.add_argument("--keep-hands", action="store_true", help="`ship` leaves the base's action expert as it is")
    parser.add_argument("--flow-steps", type=int, default=5, help="Euler steps of the shipped policy")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.base = args.base or args.run / "base"
    for step in steps:
        if args.what in (step.__name__, "all"):
            step(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
