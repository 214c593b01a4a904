# SPDX-License-Identifier: Apache-2.0
"""One learner_node that two robots feed, as processes: whoever is killed, each transition is learnt from once."""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from vla_interfaces.msg import PolicyContract, PolicyWeights

from experience.core.transition import Transition
from fakes.rl_episodes import CONTRACT, C
from fakes.rl_runs import SHAPE, episode, store, write_method
from harness.oracle import judge_ledger
from harness.proc import Proc
from harness.until import until
from harness.world import World
from rl_learner.core.checkpoint import Snapshot, latest, load
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import from_contract

SIDES = ("left", "right")
EPISODES = 8
PATIENCE_S = 180.0


def features_of(values: np.ndarray) -> bytes:
    """What tells a transition from all others, as the replay keeps it."""
    return np.asarray(values, np.float16).tobytes()


class Pair:
    """Two robots with stored transitions, each sent by a transition_node of its own, and the learner of both."""

    def __init__(self, world: World) -> None:
        self.world, self.starts = world, 0
        self.method = write_method(world.folder, warm_up_updates=20, updates_per_step=10.0)
        self.sent: dict[str, list[Transition]] = {}
        for number, side in enumerate(SIDES):
            numbers = range(1, EPISODES + 1)
            self.sent[side] = [replace(t, episode=n) for n in numbers for t in episode(n + 50 * number)]
            store(self.folder(side), self.sent[side], identity=77 + number)
        self.pieces = {
            side: world.watcher.listen(PolicyWeights, f"/{side}/policy_weights", qos.WEIGHTS) for side in SIDES
        }
        for side in SIDES:
            self._agree(side)

    def folder(self, side: str) -> Path:
        """Of a robot's run."""
        return self.world.folder / side / "r"

    def _agree(self, side: str) -> None:
        publisher = self.world.watcher.node.create_publisher(PolicyContract, f"/{side}/policy_contract", qos.LATCHED)
        publisher.publish(from_contract(CONTRACT))

    def start_robot(self, side: str) -> Proc:
        """transition_node of a robot, again."""
        self.starts += 1
        parameters = {
            "directory": str(self.world.folder / side), "run": "r", "window_steps": C, "resend_s": 0.3,
            "pace": "lockstep", "min_free_mb": 0.0,
        }  # fmt: skip
        return self.world.node(
            "experience", "transition_node", parameters=parameters, name=f"{side}_{self.starts}",
            remap={"__ns": f"/{side}"},
        )  # fmt: skip

    def start_learner(self) -> Proc:
        """learner_node, again."""
        self.starts += 1
        parameters = {
            "directory": str(self.world.folder / "gpu"), "run": "r", "method_file": str(self.method),
            "candidates": SHAPE.candidates, "capacity": 2000, "max_pending_updates": 0, "publish_period_s": 0.05,
            "checkpoint_period_s": 0.3, "robots": list(SIDES),
        }  # fmt: skip
        return self.world.node("rl_learner", "learner_node", parameters=parameters, name=f"learner_{self.starts}")

    def counter(self, name: str, *, after_ns: int = 0) -> int:
        """A counter of the learner that runs."""
        status = self.world.watcher.latest("learner_node")
        return status.counters.get(name, 0) if status and status.t_ns >= after_ns else 0

    def saved(self) -> Snapshot:
        """The newest checkpoint."""
        found, wrong = latest(self.world.folder / "gpu" / "r" / "checkpoints")
        assert found is not None and not wrong
        return load(found)


def test_when_learner_and_a_robot_are_killed_while_both_send_expect_each_transition_once_of_each(world: World) -> None:
    seed = int(os.environ.get("WHETSTONE_SEED", random.SystemRandom().randrange(10**6)))
    print(f"seed {seed}")
    rng = random.Random(seed)
    pair = Pair(world)
    robots = {side: pair.start_robot(side) for side in SIDES}
    learner, begun_ns = pair.start_learner(), 0
    for number in range(2):
        heard = len(pair.pieces["left"])
        until(
            lambda n=begun_ns, h=heard: pair.counter("updates", after_ns=n) and len(pair.pieces["left"]) > h,
            PATIENCE_S,
            "it learns",
        )
        time.sleep(rng.random())
        begun_ns = learner.kill9()
        if number:
            robots["right"].kill9()
            robots["right"] = pair.start_robot("right")
        taken = pair.saved().notes["robots"] if (world.folder / "gpu" / "r" / "checkpoints").exists() else {}
        print(f"killed at {taken}")
        learner = pair.start_learner()
    whole = sum(len(made) for made in pair.sent.values())
    until(lambda: pair.counter("through", after_ns=begun_ns) == whole, PATIENCE_S, f"all {whole} are there")
    learner.term()
    assert learner.wait_exit(30.0) == 0

    saved = pair.saved()
    assert {side: saved.notes["robots"][side]["through"] for side in SIDES} == {s: len(pair.sent[s]) for s in SIDES}
    replay = saved.replays["online"]
    rows = replay["decision_features"][replay["decisions"][:, 0].long()].numpy()
    known = {features_of(t.features): (side, seq) for side in SIDES for seq, t in enumerate(pair.sent[side], 1)}
    assert len(known) == whole
    world.judge("38", "one learner of two robots", judge_ledger(known.values(), [known[features_of(r)] for r in rows]))
    for side in SIDES:
        versions = [msg.version for _, msg in pair.pieces[side]]
        assert versions and versions == sorted(versions), f"{side}: {versions}"
