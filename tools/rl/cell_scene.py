# SPDX-License-Identifier: Apache-2.0
"""A rollout of `rl_learner` in the shipped simulated cell."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sim_rollout import POLICY_TIMEOUT_TICKS, Cell

from rl_learner.core.rollout.rollout import Rollout, RolloutRules
from vla_policy.core.protocol import Backend
from whetstone_cli.core.simulated_scene import SimulatedScene

JOINTS = (*(f"panda_joint{i}" for i in range(1, 8)), "panda_gripper")


def rollout_of(
    task: str, backend: Backend, execute_steps: int, candidates: int, query_every: int = 0
) -> tuple[Rollout, Cell]:
    """A rollout in the simulated cell of a task, and the cell.

    Windows begin at the policy's decisions, and with `query_every` at every so many steps while it drives.
    """
    cell = Cell(task, backend.spec.image_height_px)
    rules = RolloutRules(execute_steps, candidates, max_steps=POLICY_TIMEOUT_TICKS)
    if query_every:
        rules = replace(rules, query_stride=query_every, query_always=True)
    return Rollout(SimulatedScene(cell, JOINTS), backend, rules), cell
