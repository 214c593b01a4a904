# SPDX-License-Identifier: Apache-2.0
"""Episodes in process, with the data that the graph records and the truth beside it for analysis.

Windows are cut by the very code of transition_node, and a person is the very supervisor of operator_node, so that what
is learnt here is what is learnt there.

Legend: T ticks, K decisions (looks included), N candidates, H horizon, A action dims, F features.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sim_rollout import POLICY_TIMEOUT_TICKS, ROOT, Cell, Pose, apply_action

sys.path.insert(0, str(ROOT / "ros2_ws" / "src" / "rl_learner"))

from rl_learner.core.episode import Episode as Heard
from rl_learner.core.episode import Rules as Cuts
from rl_learner.core.episode import build
from rl_learner.core.records import Actor, Asked, Event, Judgement, Outcome, Step
from rl_learner.core.records import Decision as Recorded
from rl_learner.core.transition import Transition
from robot_bringup.core.supervisor import Sight, Supervisor
from sim_bridge.core.truth import Truth
from vla_policy.core.protocol import Backend, FloatArray, Observation, PolicySpec
from vla_policy.core.serving import contract_of
from vla_policy.core.steering.protocol import Kind
from whetstone_common.core.contract import Contract
from whetstone_common.core.stamp import Stamp

_TICK_NS = 50_000_000
_JOINTS = tuple(f"panda_joint{i}" for i in range(1, 8))


@dataclass(frozen=True, eq=False)
class Decision:
    """What a chooser may look at.

    Attributes:
        features: float32 [F].
        candidates: float32 [N, H, A] normalised.
        noise: float32 [N, H, A].
        tick: Of the episode.
        seed: Of the episode.
    """

    features: FloatArray
    candidates: FloatArray
    noise: FloatArray
    tick: int
    seed: int


@dataclass(frozen=True, eq=False)
class Pick:
    """A chunk to play, float32 [H, A] normalised; the candidate it comes from; whether it was edited."""

    chunk: FloatArray
    candidate: int = 0
    edited: bool = False


Chooser = Callable[[Decision], Pick]
Steerer = Callable[[FloatArray, FloatArray, int, int], FloatArray]


def contract_for(spec: PolicySpec) -> Contract:
    """What the numbers of a policy mean on this arm."""
    return contract_of(spec, (*_JOINTS, "panda_gripper"), "")


def first_candidate(decision: Decision) -> Pick:
    """The plain VLA."""
    return Pick(decision.candidates[0])


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode; row k is decision k, row t is tick t.

    Attributes:
        features: float32 [K, F].
        candidates: float32 [K, N, H, A] normalised.
        noise: float32 [K, N, H, A].
        chunk: float32 [K, H, A] that was chosen, normalised.
        picked: int32 [K] candidate it came from.
        edited: bool [K].
        acted: bool [K], whether it was meant to be played; else it was only looked at.
        tick: int32 [K].
        reference: float64 [K, 7] x y z qx qy qz qw that the chunk is relative to.
        object: float32 [K, 3] m (truth).
        goal: float32 [K, 3] m (truth).
        stage: uint8 [K] (truth).
        opening: float32 [K].
        who: uint8 [T] `Actor`.
        played: int32 [T] row of the decision whose chunk played.
        step: int32 [T] step of that chunk.
        target: float64 [T, 7] commanded pose, after the limits.
        commanded: float64 [T] commanded opening, after the limits.
        seed: int64 [].
        success: bool [].
    """

    features: FloatArray
    candidates: FloatArray
    noise: FloatArray
    chunk: FloatArray
    picked: npt.NDArray[np.int32]
    edited: npt.NDArray[np.bool_]
    acted: npt.NDArray[np.bool_]
    tick: npt.NDArray[np.int32]
    reference: npt.NDArray[np.float64]
    object: FloatArray
    goal: FloatArray
    stage: npt.NDArray[np.uint8]
    opening: FloatArray
    who: npt.NDArray[np.uint8]
    played: npt.NDArray[np.int32]
    step: npt.NDArray[np.int32]
    target: npt.NDArray[np.float64]
    commanded: npt.NDArray[np.float64]
    seed: npt.NDArray[np.int64]
    success: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """K."""
        return len(self.features)

    @property
    def ticks(self) -> int:
        """T."""
        return len(self.who)

    @property
    def human_ticks(self) -> int:
        """Ticks that a person commanded."""
        return int((self.who == Actor.HUMAN).sum())


def save(path: Path, episodes: list[Episode]) -> None:
    """Writes episodes as plain arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f"{i}/{f.name}": getattr(e, f.name) for i, e in enumerate(episodes) for f in fields(Episode)}
    np.savez(path, count=np.asarray(len(episodes)), **arrays)


def load(path: Path) -> list[Episode]:
    """Reads what `save` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return [Episode(**{f.name: data[f"{i}/{f.name}"] for f in fields(Episode)}) for i in range(int(data["count"]))]


@dataclass(frozen=True)
class Rules:
    """How an episode runs.

    Attributes:
        execute: C, steps of each chunk that are executed.
        candidates: N.
        look_stride: Ticks between two looks while a person drives.
        timeout_ticks: When it counts as failed.
    """

    execute: int = 8
    candidates: int = 8
    look_stride: int = 2
    timeout_ticks: int = POLICY_TIMEOUT_TICKS


class Runner:
    """Plays episodes of one task with one VLA.

    Args:
        cell: World, arm and expert.
        backend: The VLA.
        rules: How episodes run.

    Attributes:
        steer: Turns features and Gaussian noise, at a seed and a tick, into the noise that is denoised.
    """

    def __init__(self, cell: Cell, backend: Backend, rules: Rules) -> None:
        self.cell, self.backend, self.rules = cell, backend, rules
        self.steer: Steerer | None = None
        self._scene = 0

    def decision(self, seed: int) -> Decision:
        """Looks, thinks and proposes; noise i depends on (seed, tick, i) alone."""
        world, spec = self.cell.world, self.backend.spec
        context = self.backend.prefix(Observation(self.cell.images(), self.cell.proprio(), world.instruction))
        features = self.backend.features(context)
        shape = (self.rules.candidates, *spec.noise_shape)
        noise = np.random.default_rng([seed, world.tick]).standard_normal(shape).astype(np.float32)
        if self.steer is not None:
            noise = self.steer(features, noise, seed, world.tick)
        return Decision(features, self.backend.denoise(context, noise), noise, world.tick, seed)

    def play(
        self, seed: int, choose: Chooser, person: Supervisor | None = None, *, demonstrate: bool = False
    ) -> Episode:
        """One episode from reset to success or time-out.

        Args:
            seed: Of scene and noise.
            choose: The policy.
            person: May take over.
            demonstrate: Whether the expert drives from the first tick to the last.
        """
        self.cell.reset(seed)
        self._scene += 1
        course = _Course(self, seed, choose, person, self._scene)
        course.drives = demonstrate
        while not self.over:
            course.lap()
        return course.episode()

    @property
    def over(self) -> bool:
        """Whether the episode has succeeded or timed out."""
        return self.cell.world.truth().success or self.cell.world.tick >= self.rules.timeout_ticks

    def execute(self, chunk: FloatArray) -> None:
        """Plays C steps of a chunk, or as many as there are before the end; nothing is recorded."""
        reference, actions = self.cell.world.tcp_pose(), self.backend.spec.denormalise(chunk)
        for action in actions[: self.rules.execute]:
            self.cell.drive(*apply_action(reference, action))
            if self.cell.world.truth().success:
                return


class _Course:
    """An episode that is being played."""

    def __init__(self, runner: Runner, seed: int, choose: Chooser, person: Supervisor | None, scene: int) -> None:
        self.runner, self.cell, self.seed, self.choose = runner, runner.cell, seed, choose
        self.person, self.scene, self.drives = person, scene, False
        self.decided: dict[str, list[Any]] = {}
        self.ticked: dict[str, list[Any]] = {}

    def lap(self) -> None:
        """One chunk of the policy, or a person's turn from where they take over to where they hand back."""
        if self.drives:
            self._turn()
            return
        pick = self._decide()
        row, reference = len(self.decided["tick"]) - 1, self.cell.world.tcp_pose()
        actions = self.runner.backend.spec.denormalise(pick.chunk)
        for step in range(self.runner.rules.execute):
            refused = self._tick(*apply_action(reference, actions[step]), row, step)
            if refused or self.drives or self.runner.over:
                return

    def _turn(self) -> None:
        """A person drives until they hand back or the episode is over."""
        while self.drives and not self.runner.over:
            if self.cell.world.tick % self.runner.rules.look_stride == 0:
                self._decide(acted=False)
            command = self.cell.expert.act(self.cell.world.sense())
            self._tick(command.pose, command.opening, len(self.decided["tick"]) - 1, -1)

    def _decide(self, *, acted: bool = True) -> Pick:
        decision = self.runner.decision(self.seed)
        pick = self.choose(decision)
        truth, world = self.cell.world.truth(), self.cell.world
        pose = world.tcp_pose()
        _append(
            self.decided,
            features=decision.features, candidates=decision.candidates, noise=decision.noise, chunk=pick.chunk,
            picked=np.int32(pick.candidate), edited=np.bool_(pick.edited), acted=np.bool_(acted),
            tick=np.int32(world.tick), reference=np.concatenate([pose.position, pose.quaternion_xyzw()]),
            object=truth.object_position.astype(np.float32), goal=truth.goal_position.astype(np.float32),
            stage=np.uint8(truth.stage), opening=np.float32(world.gripper_opening()),
        )  # fmt: skip
        return pick

    def _tick(self, pose: Pose, opening: float, row: int, step: int) -> bool:
        """One command; whether the limits refused it."""
        drove = self.drives
        driven = self.cell.drive(pose, opening, by_person=drove)
        who = Actor.HOLD if driven.refused else Actor.HUMAN if drove else Actor.POLICY
        _append(
            self.ticked,
            who=np.uint8(who), played=np.int32(row), step=np.int32(step), commanded=np.float64(driven.opening),
            target=np.concatenate([driven.pose.position, driven.pose.quaternion_xyzw()]),
        )  # fmt: skip
        if self.person is not None:
            self.drives = self.person.see(sight_of(self.cell, self.cell.world.truth(), self.scene, driven.opening))
            if self.drives and not drove:
                self.cell.expert.reset()
        return driven.refused

    def episode(self) -> Episode:
        """Everything as arrays."""
        rows = {name: np.stack(values) for name, values in (self.decided | self.ticked).items()}
        return Episode(**rows, seed=np.asarray(self.seed), success=np.asarray(self.cell.world.truth().success))


def _append(rows: dict[str, list[Any]], **values: Any) -> None:
    for name, value in values.items():
        rows.setdefault(name, []).append(value)


def sight_of(cell: Cell, truth: Truth, scene: int, commanded: float) -> Sight:
    """What a person sees after that gripper opening was commanded."""
    world = cell.world
    return Sight(
        task=truth.task, scene=scene, tick=world.tick, tcp=world.tcp_pose().position, object=truth.object_position,
        goal=truth.goal_position, progress=truth.progress, opening=world.gripper_opening(), commanded=commanded,
    )  # fmt: skip


def transitions_of(episode: Episode, number: int, contract: Contract, cuts: Cuts) -> list[Transition]:
    """What transition_node would make of an episode."""
    stamps = [_stamp(number, k + 1, int(t)) for k, t in enumerate(episode.tick)]
    heard = Heard(epoch=1, number=number, started=True, steps_done=True)
    for k in range(len(episode)):
        heard.decisions[k + 1] = Recorded(
            stamp=stamps[k],
            asked=Asked.ACT if episode.acted[k] else Asked.LOOK,
            contract_hash=contract.hash(),
            method="",
            instruction="",
            kind=Kind.EDITED if episode.edited[k] else Kind.BASE,
            chosen=int(episode.picked[k]),
            reference=episode.reference[k],
            features=episode.features[k],
            proprio=np.zeros(0, np.float32),
            candidates=episode.candidates[k],
            noise=episode.noise[k],
            chosen_chunk=episode.chunk[k],
        )
    for t in range(episode.ticks):
        heard.steps[t] = Step(
            stamp=stamps[int(episode.played[t])],
            step=int(episode.step[t]),
            episode_step=t,
            time_ns=t * _TICK_NS,
            actor=Actor(int(episode.who[t])),
            joint_command=np.append(np.zeros(len(_JOINTS)), episode.commanded[t]),
            tcp_target=episode.target[t],
        )
    won = bool(episode.success)
    heard.rewards[episode.ticks] = Judgement(1, number, episode.ticks, float(won))
    outcome = Outcome.SUCCEEDED if won else Outcome.TIMED_OUT
    heard.end = Event(1, number, outcome, "", episode.ticks, episode.ticks * _TICK_NS)
    return build(heard, cuts, {contract.hash(): contract})[0]


def _stamp(number: int, request: int, tick: int) -> Stamp:
    return Stamp(1, number, request, request, tick * _TICK_NS)
