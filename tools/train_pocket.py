# SPDX-License-Identifier: Apache-2.0
"""`make pocket`: demonstrations, training, RL token and the sealed model directory, each step resumable.

python tools/train_pocket.py collect   # demonstrations and scenes into data/
python tools/train_pocket.py train     # runs/pocket, continues where it was stopped
python tools/train_pocket.py token     # RL token of the newest checkpoint, then the model directory
python tools/train_pocket.py all       # the three in turn; measure with tools/eval_pocket.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent
PACKAGE = ROOT / "ros2_ws" / "src" / "vla_policy"
MODEL = PACKAGE / "models" / "pocket"
sys.path.insert(0, str(PACKAGE))


def collect(args: argparse.Namespace) -> None:
    """Fills the data folders; what is there already is kept."""
    jobs = (
        ("collect_demos.py", args.data / "pocket", ["--episodes", str(args.demos)]),
        ("collect_scenes.py", args.data / "scenes", ["--scenes", str(args.scenes)]),
    )
    for script, out, options in jobs:
        subprocess.run([sys.executable, str(TOOLS / script), "--out", str(out), *options], check=True)


def train(args: argparse.Namespace) -> None:
    """Trains to the end of the schedule."""
    from vla_policy.core.training import pocket

    options = ["--data", str(args.data / "pocket"), "--scenes-data", str(args.data / "scenes")]
    options += ["--out", str(args.run), "--steps", str(args.steps), "--threads", str(args.threads)]
    pocket.main(options)


def token(args: argparse.Namespace) -> None:
    """Trains the RL token on a frozen checkpoint and writes the model directory."""
    import torch

    from vla_policy.core.architecture import build_model, pocket_config
    from vla_policy.core.files import load_strictly, read_tensors
    from vla_policy.core.normalise import PolicyStats
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
    export(checkpoint, args.model, model_id=args.model_id, encoder=encoder, flow_steps=args.flow_steps, extra=extra)
    print(json.dumps({"model": str(args.model), "seconds": round(time.monotonic() - started), **extra}))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("collect", "train", "token", "all"))
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "pocket")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--model-id", default="pocket-1")
    parser.add_argument("--checkpoint", type=Path, default=None, help="of `token`; the newest by default")
    parser.add_argument("--demos", type=int, default=400, help="per task")
    parser.add_argument("--scenes", type=int, default=1650, help="per task")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--token-steps", type=int, default=1000)
    parser.add_argument("--token-demos", type=int, default=100, help="demonstrations per task for the token")
    parser.add_argument("--flow-steps", type=int, default=5, help="Euler steps of the shipped policy")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    steps = {"collect": (collect,), "train": (train,), "token": (token,), "all": (collect, train, token)}
    for step in steps[args.what]:
        step(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
