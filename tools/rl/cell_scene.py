# SPDX-License-Identifier: Apache-2.0
"""A rollout of `rl_learner` in the shipped simulated cell, or in gym-hil's task, and the operator of either."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gym_hil_expert import PickOperator
from gym_hil_scene import MAX_TICKS, TASK, GymHilScene
from sim_rollout import POLICY_TIMEOUT_TICKS, TASKS, Cell

from rl_learner.core.rollout.rollout import Rollout, RolloutRules
from vla_policy.core.protocol import Backend
from whetstone_cli.core.simulated_scene import ScriptedOperator, SimulatedScene, SupervisingOperator

JOINTS = (*(f"panda_joint{i}" for i in range(1, 8)), "panda_gripper")
ALL_TASKS = (*TASKS, TASK)


def rollout_of(task: str, backend: Backend, execute_steps: int, candidates: int, query_every: int = 0) -> Rollout:
    """A rollout in the simulator of a task.

    Windows begin at the policy's decisions, and with `query_every` at every so many steps while it drives.
    """
    rules = RolloutRules(execute_steps, candidates, max_steps=MAX_TICKS if task == TASK else POLICY_TIMEOUT_TICKS)
    if query_every:
        rules = replace(rules, query_stride=query_every, query_always=True)
    if task == TASK:
        return Rollout(GymHilScene(JOINTS), backend, rules)
    return Rollout(SimulatedScene(Cell(task, backend.spec.image_height_px), JOINTS), backend, rules)


def operator_in(rollout: Rollout) -> SupervisingOperator:
    """Who corrects there."""
    scene = rollout.scene
    if isinstance(scene, GymHilScene):
        return PickOperator(scene)
    return ScriptedOperator(cell_of(rollout))


def cell_of(rollout: Rollout) -> Cell:
    """The shipped simulated cell of a rollout.

    Raises:
        ValueError: It plays in another simulator.
    """
    if not (isinstance(rollout.scene, SimulatedScene) and isinstance(rollout.scene.simulation, Cell)):
        raise ValueError(f"{type(rollout.scene).__name__} is not the shipped simulated cell")
    return rollout.scene.simulation
