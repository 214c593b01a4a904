# SPDX-License-Identifier: Apache-2.0
"""The base and a run on the same scenes at the same time: a process and a stack each, so that both cores work.

In lockstep each request cycle waits for the one before, so one stack alone leaves half of a machine of two cores idle.
`python -m whetstone_cli.cli.scenes ERRAND` plays one side and says so in lines of JSON.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vla_interfaces.msg import EpisodeEvent

from whetstone_cli.cli import screen
from whetstone_cli.cli.client import Client
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import EvalOptions, evaluate, running_client
from whetstone_cli.cli.options import task_name_of
from whetstone_cli.cli.run_settings import read_settings
from whetstone_cli.cli.stack import end_on_stop_signals, stop_signals_ignored
from whetstone_cli.cli.trained import base_stack, run_stack, wait_for_weights
from whetstone_cli.core import film
from whetstone_cli.core.before_after import worth_a_film
from whetstone_cli.core.report import EpisodeRow, Evaluation
from whetstone_common.core.child_process import die_with_parent

# A machine that is too slow plays so many scenes all the same.
_FEWEST = 10
_MOST_ABORTS = 5
_LAST_WORDS_S = 1.0
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
        films: Of so many first scenes a film may be kept.
        folder: For the stacks' logs.
        sharpened: Whether what the run adds up to plays, or its base.
        film_folder: For films, empty for one in `folder`.
    """

    run: str
    runs: str
    seed: int
    scenes: int
    until_s: float
    films: int
    folder: str
    sharpened: bool = False
    film_folder: str = ""

    @property
    def side(self) -> str:
        """Name of the side."""
        return "sharpened" if self.sharpened else "base"

    def film(self, seed: int) -> Path:
        """File of a scene's film."""
        return Path(self.film_folder or f"{self.folder}/demo_films") / f"{self.side}_{seed}.npz"

    @property
    def log(self) -> Path:
        """Output of the stack."""
        return Path(self.folder) / f"demo_{self.side}.log"


def sharpened(errand: EvalJob) -> EvalJob:
    """The same errand for the other side."""
    return replace(errand, sharpened=True)


# ---- one side, in its own process ------------------------------------------------------------------------------------


def play(errand: EvalJob, say: Emit) -> None:
    """Play the scenes one by one; each row is said as soon as it is known."""
    settings = read_settings(Path(errand.runs) / errand.run)
    stack = run_stack(errand.run, Path(errand.runs), settings) if errand.sharpened else base_stack(settings)
    with running_client(stack, errand.log, attach=False, takes=1, note=lambda text: say({"note": text})) as client:
        if stack.training is not None:
            wait_for_weights(client)
        aborts = 0
        for index in range(errand.scenes):
            if index >= _FEWEST and time.monotonic() > errand.until_s:
                return
            row = _scene(client, stack.task_name, errand, index)
            say({"row": asdict(row)})
            aborts = aborts + 1 if row.outcome == "aborted" else 0
            if aborts >= _MOST_ABORTS:
                raise UserError(f"{aborts} episodes in a row were aborted\n\nOutput of the stack: {errand.log}")


def _scene(client: Client, task: str, errand: EvalJob, index: int) -> EpisodeRow:
    seed = errand.seed + index
    client.events.clear()
    evaluation = evaluate(client, task, EvalOptions(1, seed), _ignore)
    if not evaluation.rows:
        raise UserError(f"scene {seed} was not played: {evaluation.message}\n\nOutput of the stack: {errand.log}")
    row = evaluation.rows[0]
    if worth_a_film(row, index, errand.films, sharpened=errand.sharpened):
        # The end of the episode, and with it the film's, may be a moment behind the result.
        ended = client.spin_until(lambda: any(_is_end(event, seed) for event in client.events), _LAST_WORDS_S)
        clips = client.clips() if ended else []
        if clips:
            film.save_views(errand.film(seed), clips[-1])
    return replace(row, episode=index + 1)


def _is_end(event: EpisodeEvent, seed: int) -> bool:
    return bool(event.event != EpisodeEvent.STARTED and event.seed == seed)


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
        play(EvalJob(**json.loads(sys.argv[1])), say)
    except UserError as error:
        _say({"error": str(error)})
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


# ---- both sides, as the command sees them ----------------------------------------------------------------------------


def play_both(errand: EvalJob) -> tuple[Evaluation, Evaluation]:
    """Let base and run play; returns both in this order, each with the scenes that it got to.

    Raises:
        UserError: One of them cannot.
    """
    errands = {each.side: each for each in (errand, sharpened(errand))}
    task = task_name_of(read_settings(Path(errand.runs) / errand.run).task)
    rows: dict[str, list[EpisodeRow]] = {side: [] for side in errands}
    began_s = time.monotonic()
    with screen.progress() as bars:
        shown = {side: screen.EpisodeBar(bars, f"{task}, {side}", errand.scenes) for side in errands}
        for side, words in _read_workers(list(errands.values())):
            if "note" in words:
                shown[side].note(f"waiting: {words['note']}")
            if "row" in words:
                rows[side].append(EpisodeRow(**words["row"]))
                shown[side].finish(_evaluation(task, rows[side], began_s))
    base, after = (_evaluation(task, rows[side], began_s) for side in errands)
    return base, after


def _evaluation(task: str, rows: Sequence[EpisodeRow], began_s: float) -> Evaluation:
    return Evaluation(task, "", tuple(rows), time.monotonic() - began_s)


def _read_workers(errands: Sequence[EvalJob]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the sides say, until all have ended."""
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
                yield side, words
                continue
            code = sides.pop(side).wait()
            if code != 0:
                raise UserError(f"{side} ended with exit code {code}\n\nOutput: {errands[0].folder}/demo_{side}.err")


def _listen(side: str, process: subprocess.Popen[bytes], said: queue.Queue[tuple[str, dict[str, Any]]]) -> None:
    for line in process.stdout or ():
        with contextlib.suppress(ValueError):
            said.put((side, dict(json.loads(line))))
    said.put((side, {"ended": True}))


@contextmanager
def _process(errand: EvalJob) -> Iterator[subprocess.Popen[bytes]]:
    """One side; what it has started is gone when this is left."""
    Path(errand.folder).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "whetstone_cli.cli.scenes", json.dumps(asdict(errand))]
    with Path(errand.folder, f"demo_{errand.side}.err").open("wb") as errors:
        # A session of its own: Ctrl-C comes to us, and we end it in order.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            start_new_session=True, preexec_fn=die_with_parent(),
        )  # fmt: skip
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
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
