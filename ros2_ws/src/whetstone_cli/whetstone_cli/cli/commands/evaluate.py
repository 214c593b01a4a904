# SPDX-License-Identifier: Apache-2.0
"""`whetstone eval`: episodes that are counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from rl_methods.registry import method_names
from whetstone_cli.cli import evaluate as eval_command
from whetstone_cli.cli import trained as trained_command
from whetstone_cli.cli.arguments import Episodes, JsonFile, Log, ModelDir, RobotFile, Runs, Seed, Task
from whetstone_cli.cli.model_options import remote_arguments
from whetstone_cli.cli.options import BackendName, Namespace, Pace, StackOptions, words_of
from whetstone_cli.core.film import ENDINGS

Given = TypeVar("Given")


def _renamed(new: str) -> Callable[[Given], Given]:
    """Callback of an option that is now called `new`."""

    def refuse(given: Given) -> Given:
        if given:
            raise typer.BadParameter(f"this option is now called {new}")
        return given

    return refuse


def _film_of(path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() not in ENDINGS:
        raise typer.BadParameter(f"the ending is {path.suffix!r}, allowed: {' and '.join(ENDINGS)}")
    return path


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate)


def evaluate(
    task: Task = "pick_place",
    episodes: Episodes = 50,
    seed: Seed = 0,
    instruction: Annotated[str, typer.Option(callback=words_of, help="Say this instead of the task's own words.")] = "",
    other_instruction: Annotated[
        bool, typer.Option("--other-instruction", help="Control run: give an instruction of another pair of the scene.")
    ] = False,
    _other_words: Annotated[
        bool, typer.Option("--other-words", hidden=True, callback=_renamed("--other-instruction"))
    ] = False,
    pace: Annotated[Pace, typer.Option(help="How time passes.")] = Pace.LOCKSTEP,
    backend: Annotated[BackendName, typer.Option(help="Kind of model.")] = BackendName.ONNX,
    model_dir: ModelDir = "",
    remote: Annotated[str, typer.Option(help="Address of a policy server, ws://HOST:PORT, in place of a model.")] = "",
    model_mapping: Annotated[Path | None, typer.Option(help="What the policy server's numbers mean.")] = None,
    method: Annotated[str, typer.Option(autocompletion=method_names, help="How steering_node chooses.")] = "none",
    n_candidates: Annotated[int, typer.Option(min=1, max=64, help="Chunks per request.")] = 1,
    execution: Annotated[str, typer.Option(help="sync or async.")] = "sync",
    guidance: Annotated[
        float | None,
        typer.Option(min=0.0, max=10.0, help="Weight of the words that recap has trained, instead of the model's own."),
    ] = None,
    max_steps: Annotated[int, typer.Option(min=0, max=100_000, help="Ticks of an episode, 0 for the task's.")] = 0,
    sim: Annotated[bool, typer.Option(help="Simulator, or a real arm.")] = True,
    robot: RobotFile = "sim_panda",
    attach: Annotated[bool, typer.Option("--attach", help="Use the stack that runs in this ROS domain.")] = False,
    namespace: Namespace = "",
    json: JsonFile = None,
    csv: Annotated[Path | None, typer.Option(help="Write one line per episode.")] = None,
    film: Annotated[
        Path | None, typer.Option(callback=_film_of, help="Write a film of the last episodes, .mp4 or .gif.")
    ] = None,
    _gif: Annotated[Path | None, typer.Option("--gif", hidden=True, callback=_renamed("--film"))] = None,
    _video: Annotated[Path | None, typer.Option("--video", hidden=True, callback=_renamed("--film"))] = None,
    films: Annotated[int, typer.Option(min=1, max=50, help="Episodes in the film.")] = 3,
    record: Annotated[
        Path | None, typer.Option(help="Keep every episode with its images in this folder: data for recap and sft.")
    ] = None,
    log: Log = Path("out/eval.log"),
    run: Annotated[str, typer.Option(help="A training run: its task, model and newest weights are taken.")] = "",
    runs: Runs = Path("runs"),
    paired: Annotated[bool, typer.Option("--paired", help="With --run: the base on the same scenes too.")] = False,
) -> None:
    """Run episodes and count: success rate with a Wilson interval, mean time to success."""
    if record and (run or attach):
        raise typer.BadParameter("--record is for a stack of the command's own: not with --run or --attach")
    if guidance is not None and (run or attach):
        raise typer.BadParameter("--guidance is for a stack of the command's own: not with --run or --attach")
    options = eval_command.EvalOptions(episodes, seed, instruction, other_instruction, max_steps)
    outputs = eval_command.EvalOutputs(json, csv, film, films, record)
    if run:
        trained_command.run(
            run, runs, options, outputs, paired=paired, log=log, model_dir=model_dir, namespace=namespace
        )
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
        namespace=namespace,
        extra=(
            *(remote_arguments(remote, model_mapping).items() if remote else ()),
            *((("guidance", str(guidance)),) if guidance is not None else ()),
        ),
    )
    eval_command.run(stack, options, outputs, attach=attach, log=log)
