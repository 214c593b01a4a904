# SPDX-License-Identifier: Apache-2.0
"""Entry point of `whetstone`: parses, calls, turns errors of people into one clear text."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from robot_bringup.cli import demo as demo_command
from robot_bringup.cli import demos as demos_command
from robot_bringup.cli import evaluate as eval_command
from robot_bringup.cli import jobs, node_params, operate, outputs, status
from robot_bringup.cli import train as train_command
from robot_bringup.cli import trained as trained_command
from robot_bringup.cli.doctor import findings
from robot_bringup.cli.errors import UserError, sentence_of
from robot_bringup.cli.exporting import export_dataset
from robot_bringup.cli.options import Backend, Operator, Pace, StackOptions, task_names, words_of
from robot_bringup.cli.screen import console
from robot_bringup.cli.sharpen import Sharpening
from robot_bringup.cli.stack import end_on_stop_signals, launch_command, own_environment
from robot_bringup.cli.streams import forgive_output
from robot_bringup.core import report
from robot_bringup.core.training import LAST_RUN_SEED, Budget
from whetstone_common.core.surroundings import give_home

app = typer.Typer(
    help="A vision-language-action policy on a robot arm, through ROS 2.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # in "rich", a unit in square brackets would be taken for a style
)

_INTERRUPTED = 130
_DEBUG = "--debug"  # wherever it stands on the line

for commands in (operate, node_params, status):
    commands.register(app)


def _finite(value: float) -> float:
    """NaN is below no bound and above none."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not allowed: a finite number is")
    return value


Task = Annotated[str, typer.Option(help="Task file, by name.")]
Episodes = Annotated[int, typer.Option(min=1, max=100000, help="Number of episodes.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the first episode.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
ModelDir = Annotated[str, typer.Option(help="Directory of the model; empty for the shipped one.")]
Prior = Annotated[
    Path | None, typer.Option(help="Folder of a run, or of demonstrations, that has a share of what is learnt from.")
]
FinetuneAt = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=1.0,
        callback=_finite,
        help="Share of the run after which the VLA is fine-tuned on it, 0 for never.",
    ),
]
Mapping = Annotated[
    Path | None, typer.Option(help="File that says in which names, order and units the robot's joints are recorded.")
]
Distil = Annotated[bool, typer.Option("--distil/--no-distil", help="At the end, fine-tune the VLA on the whole run.")]
Runs = Annotated[Path, typer.Option(help="Folder that holds one folder per training run.")]
Log = Annotated[Path, typer.Option(help="Output of all nodes.")]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show the traceback of an error.")] = False,
) -> None:
    """A vision-language-action policy on a robot arm, through ROS 2."""


@app.command()
def up(
    arguments: Annotated[list[str] | None, typer.Argument(help="Launch arguments, name:=value.")] = None,
) -> None:
    """Start the stack in this terminal and this ROS domain, until Ctrl-C."""
    given = dict(_split(argument) for argument in arguments or [])
    command = launch_command("whetstone.launch.xml", given)
    # Replaces this process: signals go straight to the runner.
    os.execve(command[0], command, own_environment(None))  # noqa: S606


def _split(argument: str) -> tuple[str, str]:
    name, separator, value = argument.partition(":=")
    if not separator or not name:
        raise UserError(f"{argument!r} is no launch argument\n\nWrite name:=value, for example sim:=true.")
    return name, value


@app.command("eval")
def evaluate(
    task: Task = "pick_place",
    episodes: Episodes = 50,
    seed: Seed = 0,
    instruction: Annotated[str, typer.Option(callback=words_of, help="Say this instead of the task's own words.")] = "",
    other_words: Annotated[
        bool, typer.Option("--other-words", help="Control run: say wrong words of the scene.")
    ] = False,
    pace: Annotated[Pace, typer.Option(help="How time passes.")] = Pace.LOCKSTEP,
    backend: Annotated[Backend, typer.Option(help="Kind of model.")] = Backend.ONNX,
    model_dir: ModelDir = "",
    method: Annotated[str, typer.Option(help="How steering_node chooses.")] = "none",
    n_candidates: Annotated[int, typer.Option(min=1, max=64, help="Chunks per request.")] = 1,
    execution: Annotated[str, typer.Option(help="sync or async.")] = "sync",
    max_steps: Annotated[int, typer.Option(min=0, max=100_000, help="Ticks of an episode, 0 for the task's.")] = 0,
    sim: Annotated[bool, typer.Option(help="Simulator, or a real arm.")] = True,
    robot: Annotated[str, typer.Option(help="Robot file.")] = "sim_panda",
    attach: Annotated[bool, typer.Option("--attach", help="Use the stack that runs in this ROS domain.")] = False,
    json: JsonFile = None,
    csv: Annotated[Path | None, typer.Option(help="Write one line per episode.")] = None,
    gif: Annotated[Path | None, typer.Option(help="Write a film of the last episodes.")] = None,
    video: Annotated[Path | None, typer.Option(help="The same as MP4.")] = None,
    films: Annotated[int, typer.Option(min=1, max=50, help="Episodes in the film.")] = 3,
    log: Log = Path("out/eval.log"),
    run: Annotated[str, typer.Option(help="A training run: its task, model and newest weights are taken.")] = "",
    runs: Runs = Path("runs"),
    paired: Annotated[bool, typer.Option("--paired", help="With --run: the base on the same scenes too.")] = False,
) -> None:
    """Run episodes and count: success rate with a Wilson interval, mean time to success."""
    if run:
        wanted = eval_command.EvalOptions(episodes, seed, instruction, other_words, max_steps)
        trained_command.run(run, runs, wanted, model_dir=model_dir, paired=paired, json=json, csv=csv, log=log)
        return
    stack = StackOptions(
        task=task,
        sim=sim,
        robot=robot,
        pace=pace.value,
        backend=backend.value,
        model_dir=model_dir,
        method=method,
        n_candidates=n_candidates,
        execution=execution,
    )
    options = eval_command.EvalOptions(episodes, seed, instruction, other_words, max_steps)
    outputs = eval_command.Outputs(json, csv, gif, video, films)
    eval_command.run(stack, options, outputs, attach=attach, log=log)


@app.command()
def train(
    task: Task = "pick_place",
    method: Annotated[str, typer.Option(help="What is learnt: expo or dsrl.")] = "expo",
    minutes: Annotated[
        float, typer.Option(min=0.01, callback=_finite, help="Robot time of the whole run [min].")
    ] = 19.0,
    max_steps: Annotated[
        int, typer.Option(min=0, max=100_000_000, help="Control steps of the whole run, 0 for no bound.")
    ] = 11_000,
    seed: Annotated[int, typer.Option(min=0, max=LAST_RUN_SEED, help="Of scenes, exploration and networks.")] = 0,
    run: Annotated[str, typer.Option(help="Name of the run; empty for one made of task, method and seed.")] = "",
    operator: Annotated[Operator, typer.Option(help="Who takes over.")] = Operator.SCRIPTED,
    pace: Annotated[Pace, typer.Option(help="How time passes.")] = Pace.LOCKSTEP,
    backend: Annotated[Backend, typer.Option(help="Kind of model.")] = Backend.ONNX,
    model_dir: ModelDir = "",
    n_candidates: Annotated[int, typer.Option(min=1, max=64, help="Chunks per request.")] = train_command.CANDIDATES,
    method_file: Annotated[Path | None, typer.Option(help="Settings of the method, instead of the shipped.")] = None,
    prior: Prior = None,
    finetune_at: FinetuneAt = 0.0,
    distil: Distil = False,
    record: Annotated[bool, typer.Option("--record", help="Keep every episode with its images.")] = False,
    runs: Runs = Path("runs"),
    json: JsonFile = None,
) -> None:
    """Sharpen the policy: episodes until the robot time is used up. Run it again to go on."""
    settings = train_command.RunSettings(
        task=task,
        method=method,
        seed=seed,
        operator=operator.value,
        pace=pace.value,
        backend=backend.value,
        model_dir=model_dir,
        n_candidates=n_candidates,
        method_file="" if method_file is None else str(method_file.resolve()),
        prior=train_command.prior_of(prior),
        finetune_at=finetune_at,
        distil=distil,
    )
    name = run or f"{task}_{method}_{seed}"
    options = train_command.TrainOptions(name, runs, settings, Budget(minutes, max_steps), record=record)
    train_command.run(options, json)


@app.command()
def demo(
    episodes: Episodes = 3,
    control_episodes: Annotated[int, typer.Option(min=0, max=100_000, help="Control episodes per task.")] = 1,
    seed: Seed = 1000,
    tasks: Annotated[str, typer.Option(help="Tasks, separated by commas; empty for all.")] = "",
    backend: Annotated[Backend, typer.Option(help="Kind of model.")] = Backend.ONNX,
    out: Annotated[Path, typer.Option(help="Folder for demo.json, films, logs and the run.")] = Path("out"),
    budget_s: Annotated[
        float,
        typer.Option(
            min=1.0,
            callback=_finite,
            help="Wall time of it all; a slow machine leaves out control runs and scenes [s].",
        ),
    ] = 900.0,
    train_minutes: Annotated[
        float,
        typer.Option(
            min=0.0, callback=_finite, help="Then sharpen the policy for so much robot time, 0 for not [min]."
        ),
    ] = 19.0,
    train_max_steps: Annotated[
        int, typer.Option(min=0, max=100_000_000, help="Or so many control steps, 0 for no bound.")
    ] = 5_000,
    train_task: Annotated[str, typer.Option(help="Task that is learnt.")] = "pick_place",
    train_method: Annotated[str, typer.Option(help="expo or dsrl.")] = "expo",
    train_prior: Prior = None,
    train_finetune_at: FinetuneAt = 0.9,
    scenes: Annotated[int, typer.Option(min=1, max=10000, help="Scenes for base and sharpened policy.")] = 100,
    json: JsonFile = None,
) -> None:
    """Show it all: the pocket VLA on every task, the same scenes with other words, and what learning makes of one."""
    names = tuple(filter(None, tasks.split(","))) or tuple(task_names())
    sharpening = None
    if train_minutes > 0.0:
        budget = Budget(train_minutes, train_max_steps)
        prior = train_command.prior_of(train_prior)
        sharpening = Sharpening(
            train_task, train_method, backend.value, budget, out / "runs", scenes, seed, prior, train_finetune_at
        )
    options = demo_command.DemoOptions(
        names, episodes, control_episodes, seed, backend.value, out, budget_s, sharpening
    )
    demo_command.run(options, json or out / "demo.json")


@app.command()
def demos(
    task: Task = "pick_place",
    episodes: Episodes = 10,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for recordings and dataset.")] = Path("out/demos"),
    robot: Annotated[str, typer.Option(help="Robot file.")] = "sim_panda",
    json: JsonFile = None,
) -> None:
    """Record demonstrations of the scripted expert through the graph; export them as a LeRobotDataset."""
    demos_command.run(demos_command.DemosOptions(task, episodes, seed, out, robot), json)


@app.command()
def export(
    recordings: Annotated[Path, typer.Argument(help="Folder of MCAP recordings.")],
    out: Annotated[Path, typer.Argument(help="Folder of the new dataset.")],
    robot: Annotated[str, typer.Option(help="Robot file.")] = "sim_panda",
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out recordings that cannot be used, and say which.")
    ] = False,
    keep_aborted: Annotated[
        bool, typer.Option("--keep-aborted", help="Export aborted episodes too, as failures.")
    ] = False,
) -> None:
    """Export recordings as a LeRobotDataset of format v3.0."""
    files = sorted(recordings.glob("*.mcap"))
    if not files:
        raise UserError(f"no .mcap file in {recordings}")
    outputs.check_new_folder(out)
    done = export_dataset(files, out, robot, skip_damaged=skip_damaged, keep_aborted=keep_aborted)
    if done.aborted:
        console.print(f"[yellow]left out:[/] {done.aborted} aborted episodes", highlight=False)
    for text in done.skipped:
        console.print(Text.assemble(("left out:", "yellow"), " ", text))
    console.print(f"{done.episodes} of {len(files)} episodes, {done.frames} frames: {out}")


@app.command()
def prior(
    dataset: Annotated[Path, typer.Argument(help="Folder of a LeRobotDataset of format v3.0.")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    method: Annotated[str, typer.Option(help="What will be learnt from it: expo or dsrl.")] = "expo",
    backend: Annotated[Backend, typer.Option(help="Kind of model.")] = Backend.ONNX,
    model_dir: ModelDir = "",
    robot: Annotated[str, typer.Option(help="Robot file.")] = "sim_panda",
    n_candidates: Annotated[int, typer.Option(min=1, max=64, help="Chunks per look.")] = train_command.CANDIDATES,
    stride: Annotated[int, typer.Option(min=1, max=100, help="Frames between two looks of the policy.")] = 2,
    mapping: Mapping = None,
) -> None:
    """Make of recorded demonstrations what `train --prior` knows from the start."""
    options = jobs.PriorOptions(dataset, out, method, backend.value, model_dir, robot, n_candidates, stride, mapping)
    jobs.make_prior(options)


@app.command()
def finetune(
    datasets: Annotated[list[Path], typer.Argument(help="Folders of LeRobotDatasets of format v3.0.")],
    out: Annotated[Path, typer.Option(help="Model directory to make.")],
    model_dir: ModelDir = "",
    robot: Annotated[str, typer.Option(help="Robot file.")] = "sim_panda",
    steps: Annotated[int, typer.Option(min=1, help="Of the optimiser.")] = 600,
    average: Annotated[int, typer.Option(min=1, max=20, help="Fine-tunings whose weights are averaged.")] = 1,
    mapping: Mapping = None,
) -> None:
    """Fine-tune the policy's action expert on successes and corrections; eyes and words stay as they are."""
    jobs.finetune(datasets, out, model_dir, robot, steps, average, mapping)


@app.command()
def doctor(json: JsonFile = None) -> None:
    """Check this machine and say how to put right what is wrong."""
    outputs.check_files(json)
    found = findings()
    table = Table()
    for name in ("", "what", "found", "how to fix"):
        table.add_column(name)
    for finding in found:
        sign = Text("ok", "green") if finding.ok else Text("no", "red")
        table.add_row(sign, finding.name, finding.detail, finding.fix)
    console.print(table)
    if json is not None:
        report.write_json(json, {"findings": [asdict(finding) for finding in found]})
    if not all(finding.ok for finding in found):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; what an operator can put right ends without a traceback."""
    forgive_output()
    give_home(os.environ)
    end_on_stop_signals()
    is_debug = _DEBUG in sys.argv
    try:
        app(args=[word for word in sys.argv[1:] if word != _DEBUG])
    except KeyboardInterrupt:
        console.print("stopped")
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if is_debug:
            raise
        headline, _, rest = sentence_of(error).partition("\n\n")
        console.print(Text.assemble(("error:", "bold red"), " ", headline))
        if rest:
            console.print(rest, highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
