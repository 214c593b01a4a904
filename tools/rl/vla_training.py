# SPDX-License-Identifier: Apache-2.0
"""Methods that train the VLA itself, by the commands that a user types; each run becomes a row of the record.

`vla_training.py recap dagger [--task pick_place] [--seed 0]`. A step that was done is not done again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix import RECORD, ROOT, TASKS
from record import RunRow, keep

from whetstone_cli.core.training import FIRST_TRAINING_SEED

CONTROL_STEPS, EPISODES, EVALUATION_SEED = 11_000, 100, 1000
_ALONE = ("recap", "ppo")  # nobody takes over
_DT_S = 0.05  # control period of the pocket VLA


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: Of its mark, its log and its figures.
        words: Behind `whetstone`.
    """

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """A method on a task with a seed.

    Attributes:
        method: Name in the registry.
        task: Name of the task.
        seed: Of networks, draws and training scenes.
        folder: Of everything that it makes.
        control_steps: That it may take of the robot, or of the simulator for ppo.
    """

    method: str
    task: str
    seed: int
    folder: Path
    control_steps: int

    @property
    def steps(self) -> tuple[Step, ...]:
        """What makes and evaluates the model."""
        return (*_STEPS[self.method](self), self.evaluation("after", *self.result))

    @property
    def result(self) -> tuple[str, ...]:
        """How `whetstone eval` names what was made."""
        is_run = self.method == "dagger"
        return ("--run", "run", "--runs", str(self.folder)) if is_run else ("--model-dir", str(self.folder / "model"))

    def evaluation(self, name: str, *policy: str) -> Step:
        """Counts the successes of a policy on the scenes that every run is judged by."""
        named = () if "--run" in policy else ("--task", self.task)
        scenes = ("--episodes", str(EPISODES), "--seed", str(EVALUATION_SEED))
        return Step(name, ("eval", *named, *policy, *scenes, *self._json(name)))

    def rollouts(self, name: str, first: int, count: int, *policy: str) -> Step:
        """Plays a policy on training scenes and keeps what it did."""
        scenes = ("--episodes", str(count), "--seed", str(FIRST_TRAINING_SEED + 10_000 * self.seed + first))
        recorded = ("--record", str(self.folder / name), *self._json(name))
        return Step(name, ("eval", "--task", self.task, *policy, *scenes, *recorded))

    def demonstrations(self, count: int = 40) -> Step:
        """Successes of the scripted expert."""
        return Step(
            "demos",
            ("demos", "--task", self.task, "--episodes", str(count), "--seed", str(FIRST_TRAINING_SEED - 10_000),
             "--out", str(self.folder / "demos"), *self._json("demos")),
        )  # fmt: skip

    def training(self, method: str, *more: str) -> Step:
        """A run of `whetstone train` with the scripted operator."""
        budget = ("--max-steps", str(self.control_steps), "--seed", str(self.seed))
        where = ("--run", "run", "--runs", str(self.folder))
        return Step("run", ("train", "--task", self.task, "--method", method, *budget, *where, *more))

    def post_training(self, name: str, method: str, *data: str) -> Step:
        """The VLA learns from recordings and datasets in the folder."""
        sources = [str(self.folder / each) for each in data]
        return Step(name, (method, *sources, "--out", str(self.folder / name), "--seed", str(self.seed)))

    def _json(self, name: str) -> tuple[str, str]:
        return "--json", str(self.figures(name))

    def figures(self, name: str) -> Path:
        """Where a step's figures lie."""
        return self.folder / f"{name}.json"


def _sft(run: Run) -> tuple[Step, ...]:
    return run.demonstrations(), run.post_training("model", "sft", "demos/lerobot")


def _dagger(run: Run) -> tuple[Step, ...]:
    return (run.training("dagger"),)


def _recap(run: Run) -> tuple[Step, ...]:
    """Two iterations of half the budget each, the second from the first one's policy, both from the base's weights."""
    half = _episodes_in(run.control_steps) // 2
    return (
        run.demonstrations(),
        run.rollouts("first", 0, half),
        run.post_training("recap-1", "recap", "first", "demos/lerobot"),
        run.rollouts("second", half, half, "--model-dir", str(run.folder / "recap-1")),
        run.post_training("model", "recap", "first", "second", "demos/lerobot"),
    )


def _distill(run: Run) -> tuple[Step, ...]:
    made = ("distill", "run", "--runs", str(run.folder), "--out", str(run.folder / "model"), "--seed", str(run.seed))
    return run.training("expo", "--record"), Step("model", made)


def _ppo(run: Run) -> tuple[Step, ...]:
    budget = ("--budget-steps", str(run.control_steps), "--iterations", "100000", "--evaluate-every", "0")
    where = ("--task", run.task, "--run", "run", "--runs", str(run.folder), "--out", str(run.folder / "model"))
    return (Step("ppo", ("ppo", *where, *budget, "--envs", "1", "--seed", str(run.seed))),)


def _episodes_in(control_steps: int) -> int:
    """Of the base, which takes some 87 steps for one."""
    return control_steps // 87


_STEPS = {"sft": _sft, "dagger": _dagger, "recap": _recap, "distill": _distill, "ppo": _ppo}


def perform(step: Step, run: Run) -> None:
    """Do a step unless it was done; its output goes to a log, its wall time to its mark.

    Raises:
        CalledProcessError: It failed.
    """
    mark = run.folder / f"{step.name}.done"
    if mark.exists():
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    print(f"{run.method}: whetstone {' '.join(step.words)}", flush=True)
    began_s = time.monotonic()
    with (run.folder / f"{step.name}.log").open("a", encoding="utf-8") as log:
        command = [sys.executable, "-m", "whetstone_cli.cli.main", *step.words]
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=run.folder, check=True)
    mark.write_text(f"{time.monotonic() - began_s:.1f}\n", encoding="utf-8")


def row_of(run: Run, base: Path) -> RunRow:
    """What the record keeps of a run that was made and evaluated."""
    episodes = list(_robot_episodes(run))
    steps = sum(each["steps"] for each in episodes) or run.control_steps
    before, after = success_rate(base), success_rate(run.figures("after"))
    made = [step.name for step in run.steps if step.name != "after"]
    return RunRow(
        task=run.task, method=run.method, variant="shipped", seed=run.seed, human=int(run.method not in _ALONE),
        base=before["rate"], after=after["rate"], episodes=after["episodes"], control_steps=steps,
        robot_minutes=round(steps * _DT_S / 60.0, 2),
        human_fraction=sum(each["human_steps"] for each in episodes) / steps,
        wall_s=sum(float((run.folder / f"{name}.done").read_text()) for name in made), where="graph",
    )  # fmt: skip


def _robot_episodes(run: Run) -> Iterator[dict[str, Any]]:
    """Episodes that were data; evaluations are not."""
    for name in ("demos", "first", "second"):
        if (path := run.figures(name)).is_file():
            read = json.loads(path.read_text(encoding="utf-8"))
            for played in read.get("runs", [read]):
                yield from ({**row, "human_steps": row["steps"] * (name == "demos")} for row in played["rows"])
    if (path := run.folder / "run" / "episodes.jsonl").is_file():
        lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        yield from (line for line in lines if not line["evaluation"])


def success_rate(path: Path) -> dict[str, Any]:
    """Of the figures of an evaluation, of a model or of a run."""
    read = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, Any] = read.get("trained", read)["success_rate"]
    return found


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="+", choices=tuple(_STEPS))
    parser.add_argument("--task", default=TASKS[0], choices=TASKS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--control-steps", type=int, default=CONTROL_STEPS, help="of the robot; of the simulator for ppo"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "vla_training")
    parser.add_argument("--record", type=Path, default=RECORD, help="file that keeps a row of each run")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the runs and keep their rows."""
    args = parse(argv)
    base = Run("none", args.task, args.seed, (args.folder / args.task / "base").resolve(), args.control_steps)
    perform(base.evaluation("after"), base)
    for method in args.methods:
        folder = (args.folder / args.task / f"{method}_{args.seed}").resolve()
        run = Run(method, args.task, args.seed, folder, args.control_steps)
        try:
            for step in run.steps:
                perform(step, run)
        except subprocess.CalledProcessError as error:
            print(f"{method}: exit code {error.returncode}; logs and what was made are in {folder}")
            return 1
        row = row_of(run, base.figures("after"))
        keep(args.record, [row])
        print(f"{method}: {row.base:.2f} to {row.after:.2f} in {row.robot_minutes} min of robot time", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
