# SPDX-License-Identifier: Apache-2.0
"""Rows of whoever has started the nodes: nothing moves without them."""

from __future__ import annotations

import contextlib
import os
import signal

import yaml

from harness.cells import ARM_PARAMETERS, Cell, write_robot
from harness.oracle import CI_ALLOWANCE, Verdict
from harness.proc import Proc
from harness.rows.case import Case, always, check, now_ns, watch_for
from harness.rows.timing import ramped
from harness.until import NotReachedError, until
from harness.world import World

# After the owner is gone: nodes hold by ramp, flush and end.
_GONE_S = 3.0
# A node that is asked to end, whatever it does.
_ENDS_S = 2.0
_LOAD_S = 40.0


def launched_cell(world: World, mutation: str, *, terminal: bool) -> Cell:
    """An arm that moves, whose arm_node was started by a launch; drives and policy are the test's own."""
    cell = Cell(world)
    parameters = {**ARM_PARAMETERS, "robot_file": write_robot(world.folder), "command_log": str(cell.arm_log)}
    file = world.folder / "arm.launch.xml"
    settings = file.with_suffix(".yaml")
    settings.write_text(yaml.safe_dump({"arm_node": {"ros__parameters": parameters}}), encoding="utf-8")
    node = (
        f'<node pkg="robot_bringup" exec="arm_node" name="arm_node" output="screen"><param from="{settings}"/></node>'
    )
    file.write_text(f"<launch>{node}</launch>", encoding="utf-8")
    cell.parts["fake_arm"] = world.fake("fake_arm", parameters={"log": str(cell.drive_log)})
    cell.parts["launch"] = world.launch(file, mutation=mutation, terminal=terminal)
    cell.parts["fake_policy"] = world.fake("fake_policy")
    world.wait_ready("fake_arm", "fake_policy", "arm_node")
    cell.run()
    return cell


def orphans(world: World) -> set[int]:
    """Living processes of this world that somebody else than the test has started."""
    return set(world.survivors()) - {proc.pid for proc in world.procs}


def bury(pids: set[int]) -> None:
    """Kill what a launch has left behind: a mutation did it, and the world must be clean for the judge of that."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def owner_is_gone(world: World, seed: int, mutation: str, *, terminal: bool) -> Verdict:
    """Kill the window that the launch runs in, or the launch itself, while the arm moves."""
    cell = launched_cell(world, mutation, terminal=terminal)
    cell.wait_random_moment(seed)
    owner: Proc = cell.parts["launch"]
    fault_ns = owner.kill9()
    try:
        until(lambda: not orphans(world), _GONE_S, "nothing is left of the launch")
    except NotReachedError as error:
        bury(orphans(world))
        return Verdict((str(error),))
    took_s = (now_ns() - fault_ns) / 1e9
    return cell.judge_stop(fault_ns, open_loop_s=0.2) + ramped(cell) + always(cell) + check(True, "", gone_s=took_s)  # noqa: FBT003


def terminal_is_closed(world: World, seed: int, mutation: str) -> Verdict:
    """Row 60: the terminal of the launch is closed: SIGHUP, and nothing can be printed any more."""
    return owner_is_gone(world, seed, mutation, terminal=True)


def runner_is_killed(world: World, seed: int, mutation: str) -> Verdict:
    """Row 61: `kill -9` of the launch; what it has started is not left alone."""
    return owner_is_gone(world, seed, mutation, terminal=False)


def node_ends_while_it_loads(world: World, seed: int, mutation: str) -> Verdict:
    """Row 62: vla_node is asked to end while it imports, reads weights, exports and warms up."""
    parameters = {"backend": "onnx", "model_dir": "package://vla_policy/models/pocket"}
    verdict = Verdict()
    # Into an empty cache, so that the model is exported as on the first start.
    scratch = world.folder / "scratch"
    scratch.mkdir()
    places = {"XDG_CACHE_HOME": str(scratch), "TMPDIR": str(scratch)}
    for number, (moment, after_s) in enumerate((("import", 0.7), ("set-up", 0.3), ("set-up", 2.5))):
        node = world.node("vla_policy", "vla_node", parameters=parameters, mutation=mutation, env=places)
        node.name = f"vla_node {moment}"
        if moment == "set-up":
            until(lambda node=node: ": starting" in node.tail() or not node.alive, _LOAD_S, "the set-up begins")  # noqa: B023
        watch_for(after_s + 0.1 * (seed % 5))
        fault_ns = (node.term, node.interrupt)[(seed + number) % 2]()
        try:
            code = node.wait_exit(_ENDS_S * CI_ALLOWANCE)
        except NotReachedError as error:
            return verdict + Verdict((f"in its {moment}: {error}",))
        took_s = (now_ns() - fault_ns) / 1e9
        verdict += check(code == 0, f"exit code {code} in its {moment}: {node.tail()[-300:]}", exit_s=took_s)
        node.output.unlink()
    return verdict


CASES = (
    Case("60", "terminal closed", terminal_is_closed, ("printing_comes_first",), quick=True),
    Case("62", "vla_node is loading", node_ends_while_it_loads, ("only_the_main_thread_hears",), quick=True),
    Case("61", "kill -9 launch", runner_is_killed, ("children_are_orphaned",), quick=True),
)
