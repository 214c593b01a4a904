# SPDX-License-Identifier: Apache-2.0
"""Rows of datasets: what another recorder or disk has made of them is refused before anything is learnt from it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fakes.lerobot_files import JOINTS, change_joints, gripper_first, in_degrees, panda_dataset, recode
from harness.oracle import Verdict
from harness.proc import Proc
from harness.rows.case import Case, check
from harness.world import World

_JOB = "whetstone_cli.jobs.make_prior"
_DEADLINE_S = 60.0


def degrees(root: Path) -> None:
    """As LeRobot's own arms record."""
    change_joints(root, in_degrees)


def other_order(root: Path) -> None:
    """The gripper first, and named so; every value would be possible for the joint in its place."""
    change_joints(root, lambda joints: joints, gripper_first(JOINTS))


def picture_lost(root: Path) -> None:
    """The fifth picture is lost; those behind it keep their moments."""
    recode(root, lambda number, _count: () if number == 4 else (number,))


def nobody_drove(root: Path) -> None:
    """The policy drove all of it."""
    panda_dataset(root, actor=1)


def dataset_is_wrong(damage: Callable[[Path], None], words: str, world: World, seed: int, mutation: str) -> Verdict:  # noqa: ARG001
    """Prior data are made of it: nothing is left behind, and one sentence says why."""
    root, out = world.folder / "set", world.folder / "prior"
    if damage is not nobody_drove:
        panda_dataset(root)
    damage(root)
    arguments = [str(root), str(out), "--backend=fake", "--candidates=1"]
    start = ["-m", "harness.mutants", mutation, _JOB] if mutation else ["-m", _JOB]
    job = Proc("make_prior", [sys.executable, *start, *arguments], folder=world.folder, env=world.env)
    world.procs.append(job)
    code, said = job.wait_exit(_DEADLINE_S), " ".join(job.tail().split())
    kept = check(not out.exists() and not out.with_name("prior.part").exists(), f"{root} was learnt from")
    return (
        kept
        + check(words in said and "Traceback" not in said, f"nothing says {words!r}: {said}")
        + check(mutation or code == 2, f"exit code {code}, expected 2")
    )


CASES = (
    Case("80", "joints in degrees",
         partial(dataset_is_wrong, degrees, "panda_joint2 is -22.92 rad, allowed"), ("joint_values_are_believed",)),
    Case("81", "joints in another order",
         partial(dataset_is_wrong, other_order, "in another order than the robot's"), ("joint_names_are_not_read",)),
    Case("82", "a picture lost",
         partial(dataset_is_wrong, picture_lost, "frame 4: no picture at 0.2000 s"), ("pictures_are_counted",)),
    Case("83", "nothing to learn from",
         partial(dataset_is_wrong, nobody_drove, "would be empty"), ("empty_is_enough",)),
)  # fmt: skip
