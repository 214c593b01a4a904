# SPDX-License-Identifier: Apache-2.0
"""The base and a run on the same scenes at the same time: a process and a stack each, so that both cores work.

In lockstep each request cycle waits for the one before, so one stack alone leaves half of a machine of two cores idle.
`python -m whetstone_cli.cli.scenes ERRAND` plays one side and says so in lines of JSON.
"""

from __future__ import annotations

import contextlib
import json
import math
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from whetstone_cli.cli import screen
from whetstone_cli.cli.client import Client
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import EvalOptions, evaluate, running_client
from whetstone_cli.cli.options import task_name_of
from whetstone_cli.cli.run_settings import read_settings
from whetstone_cli.cli.stack import end_on_stop_signals, stop_signals_ignored
from whetstone_cli.cli.trained import base_stack, run_stack, wait_for_weights
from whetstone_cli.core import film
from whetstone_cli.core.before_after import same_scenes, scene_to_show
from whetstone_cli.core.report import EpisodeRow, Evaluation
from whetstone_common.core.child_process import die_with_parent

# A machine that is too slow plays so many scenes all the same.
_FEWEST = 10
_MOST_ABORTS = 5
# Longer than the stack of a side takes to stop.
_GRACE_S = 40.0
Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class EvalJob:
    """What one side plays.

    Attributes:
        run: Name of the run.
        runs: Folder that holds one folder per run.
        seed: Of the first scene.
        scenes: How many.
        until_s: Monotonic time, which processes share, at which no scene is begun any more.
        folder: For the stacks' logs.
        sharpened: Whether what the run adds up to plays, or its base.
    """

    run: str
    runs: str
    seed: int
    scenes: int
    until_s: float
    folder: str
    sharpened: bool = False

    @property
    def side(self) -> str:
        """Name of the side."""
        return "sharpened" if self.sharpened else "base"

    @property
    def film(self) -> Path:
        """Pictures of the scene that is shown."""
        return Path(self.folder) / f"demo_{self.side}.npz"

    @property
    def log(self) -> Path:
        """Output of the stack."""
        return Path(self.folder) / f"demo_{self.side}.log"


def sharpened(errand: EvalJob) -> EvalJob:
    """The same errand for the other side."""
    return replace(errand, sharpened=True)


# ---- one side, in its own process ------------------------------------------------------------------------------------


def play(errand: EvalJob, say: Emit, wish: IO[str]) -> None:
    """Play the scenes one by one; each row is said as soon as it is known. Then film the scene that is wished for.

    Only that one is filmed: pictures for people cost more time than a scene takes without them.

    Args:
        errand: What to play.
        say: Called with rows and notes.
        wish: One line with the seed of the scene to film, or nothing.
    """
    settings = read_settings(Path(errand.runs) / errand.run)
    stack = run_stack(errand.run, Path(errand.runs), settings) if errand.sharpened else base_stack(settings)
    with running_client(stack, errand.log, attach=False, takes=0, note=lambda text: say({"note": text})) as client:
        if stack.training is not None:
            wait_for_weights(client)
        _play_all(client, stack.task_name, errand, say)
        say({"played": True})
        seed = _wished(client, wish)
        # The figures are known: what goes wrong now costs the film alone.
        with contextlib.suppress(UserError):
            if seed is not None:
                _film(client, stack.task_name, errand, seed)


def _film(client: Client, task: str, errand: EvalJob, seed: int) -> None:
    client.start_filming()
    _scene(client, task, errand, seed)
    for clip in client.clips().values():
        film.save_clip(errand.film, clip)


def _play_all(client: Client, task: str, errand: EvalJob, say: Emit) -> None:
    aborts = 0
    for index in range(errand.scenes):
        if index >= _FEWEST and time.monotonic() > errand.until_s:
            return
        row = replace(_scene(client, task, errand, errand.seed + index), episode=index + 1)
        say({"row": asdict(row)})
        aborts = aborts + 1 if row.outcome == "aborted" else 0
        if aborts >= _MOST_ABORTS:
            raise UserError(f"{aborts} episodes in a row were aborted\n\nOutput of the stack: {errand.log}")


def _scene(client: Client, task: str, errand: EvalJob, seed: int) -> EpisodeRow:
    client.events.clear()
    evaluation = evaluate(client, task, EvalOptions(1, seed), _ignore)
    if not evaluation.rows:
        raise UserError(f"scene {seed} was not played: {evaluation.message}\n\nOutput of the stack: {errand.log}")
    return evaluation.rows[0]


def _wished(client: Client, wish: IO[str]) -> int | None:
    """Seed of the scene to film, None for none; what the nodes say is heard while the other side still plays."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(wish.readline()), daemon=True).start()
    client.spin_until(lambda: not lines.empty(), math.inf)
    words = lines.get().strip()
    return int(words) if words else None


def _ignore(_feedback: Any) -> None:
    """Scenes are counted, not steps."""


def _say(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Play what the argument says."""
    end_on_stop_signals()
    last = ""

    def say(words: dict[str, Any]) -> None:
        nonlocal last
        # What is waited for comes with every look at it.
        if words.get("note") != last:
            _say(words)
        last = words.get("note", "")

    try:
        play(EvalJob(**json.loads(sys.argv[1])), say, sys.stdin)
    except UserError as error:
        _say({"error": str(error)})
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


# ---- both sides, as the command sees them ----------------------------------------------------------------------------


def play_both(errand: EvalJob) -> tuple[Evaluation, Evaluation]:
    """Let base and run play, then film the scene that shows the difference; where one was filmed, `film` is a file.

    Returns:
        Base and run, each with the scenes that it got to.

    Raises:
        UserError: One of them cannot.
    """
    errands = {each.side: each for each in (errand, sharpened(errand))}
    task = task_name_of(read_settings(Path(errand.runs) / errand.run).task)
    rows: dict[str, list[EpisodeRow]] = {side: [] for side in errands}
    waiting: list[IO[str]] = []
    for each in errands.values():
        each.film.unlink(missing_ok=True)
    began_s = time.monotonic()
    with screen.progress() as bars:
        shown = {side: screen.EpisodeBar(bars, f"{task}, {side}", errand.scenes) for side in errands}
        for side, words, wish in _read_workers(list(errands.values())):
            if "played" in words:
                waiting.append(wish)
                if len(waiting) == len(errands):
                    both = (_evaluation(task, rows[each], began_s) for each in errands)
                    _tell(waiting, scene_to_show(*same_scenes(*both)))
            if "note" in words:
                shown[side].note(f"waiting: {words['note']}")
            if "row" in words:
                rows[side].append(EpisodeRow(**words["row"]))
                shown[side].finish(_evaluation(task, rows[side], began_s))
    base, after = (_evaluation(task, rows[side], began_s) for side in errands)
    return base, after


def _tell(wishes: Sequence[IO[str]], seed: int | None) -> None:
    for wish in wishes:
        # One that has ended meanwhile is reported by its exit code.
        with contextlib.suppress(OSError):
            wish.write("\n" if seed is None else f"{seed}\n")
            wish.flush()


def _evaluation(task: str, rows: Sequence[EpisodeRow], began_s: float) -> Evaluation:
    return Evaluation(task, "", tuple(rows), time.monotonic() - began_s)


def _read_workers(errands: Sequence[EvalJob]) -> Iterator[tuple[str, dict[str, Any], IO[str]]]:
    """What the sides say, and where each reads a wish, until all have ended."""
    said: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
    with ExitStack() as stack:
        sides = {errand.side: stack.enter_context(_process(errand)) for errand in errands}
        for side, process in sides.items():
            threading.Thread(target=_listen, args=(side, process, said), daemon=True).start()
        while sides:
            side, words = said.get()
            if "error" in words:
                raise UserError(f"{side}: {words['error']}")
            if "ended" not in words:
                yield side, words, _stdin_of(sides[side])
                continue
            code = sides.pop(side).wait()
            if code != 0:
                raise UserError(f"{side} ended with exit code {code}\n\nOutput: {errands[0].folder}/demo_{side}.err")


def _stdin_of(process: subprocess.Popen[str]) -> IO[str]:
    if process.stdin is None:
        raise RuntimeError("a side was started without a pipe")
    return process.stdin


def _listen(side: str, process: subprocess.Popen[str], said: queue.Queue[tuple[str, dict[str, Any]]]) -> None:
    for line in process.stdout or ():
        with contextlib.suppress(ValueError):
            said.put((side, dict(json.loads(line))))
    said.put((side, {"ended": True}))


@contextmanager
def _process(errand: EvalJob) -> Iterator[subprocess.Popen[str]]:
    """One side; what it has started is gone when this is left."""
    Path(errand.folder).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "whetstone_cli.cli.scenes", json.dumps(asdict(errand))]
    with Path(errand.folder, f"demo_{errand.side}.err").open("wb") as errors:
        # A session of its own: Ctrl-C comes to us, and we end it in order.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            start_new_session=True, preexec_fn=die_with_parent(),
        )  # fmt: skip
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    with stop_signals_ignored():
        try:
            if process.poll() is None:
                process.terminate()
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
