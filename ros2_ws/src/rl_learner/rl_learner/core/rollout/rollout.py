# SPDX-License-Identifier: Apache-2.0
"""Plays a policy in a scene, as the graph does: requests, proposals, decisions, interventions, limits.

One thing is simpler than in the graph: what the limits refuse costs a control step of braking, where arm_node asks for
another chunk in the same step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rl_learner.core.rollout.episode import PlayedEpisode
from rl_learner.core.rollout.scene import Operator, Scene
from rl_methods.base import FloatArray, NoisePolicy, Policy, PolicyInput, PolicyOutput, RuntimeConfig
from rl_methods.none.policy import FirstCandidate
from vla_policy.core.protocol import Backend
from vla_policy.core.serving import draw_noise, merge_noise
from vla_policy.core.stacked_images import stacked
from vla_policy.core.steering.decide import decide, steer
from whetstone_common.core.cartesian import displaced
from whetstone_common.core.enums import Actor
from whetstone_common.core.kinematics import Pose
from whetstone_common.core.stamp import QUERY_SEQUENCE


@dataclass(frozen=True)
class RolloutRules:
    """How an episode runs.

    Attributes:
        execute_steps: C, steps of each chunk that are executed.
        candidates: N.
        query_stride: Control steps between two queries while the operator drives.
        query_always: Whether queries are made while the policy drives too: more windows from the same robot time.
        max_steps: Control steps after which an episode has timed out.
        images: Whether policy and transitions get images, for methods with an image encoder.
    """

    execute_steps: int = 8
    candidates: int = 8
    query_stride: int = 2
    query_always: bool = False
    max_steps: int = 160
    images: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        for name in ("execute_steps", "candidates", "query_stride", "max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")


class Rollout:
    """Plays episodes of one scene with one VLA.

    Args:
        scene: The simulated arm.
        backend: The VLA.
        rules: How episodes run.
        config: What may be changed while the robot works.

    Attributes:
        policy: Actor half of a method; the plain VLA by default.
    """

    def __init__(
        self, scene: Scene, backend: Backend, rules: RolloutRules, config: RuntimeConfig | None = None
    ) -> None:
        self.scene, self.backend, self.rules = scene, backend, rules
        self.config = config or RuntimeConfig(n_candidates=rules.candidates, explore=False)
        self.policy: Policy = FirstCandidate()

    def proposal(self, seed: int, sequence: int) -> PolicyInput:
        """Observe, and let the VLA propose; every draw follows from the episode's seed and the request's number."""
        spec = self.backend.spec
        observation = self.scene.observation()
        context = self.backend.prefix(observation)
        features = self.backend.features(context)
        noise = draw_noise(self.rules.candidates, spec, seed, sequence)
        is_steered = isinstance(self.policy, NoisePolicy)
        if isinstance(self.policy, NoisePolicy):
            shape = (self.rules.candidates, spec.horizon, spec.action_dim)
            noise = merge_noise(steer(self.policy, features, shape, seed, sequence, self.config), noise)
        candidates = self.backend.denoise(context, noise)
        step = self.scene.tick
        images = stacked(observation.images, spec.cameras) if self.rules.images else np.zeros(0, np.uint8)
        return PolicyInput(
            features, observation.proprio, candidates, noise, is_steered, seed, sequence, step, images=images
        )

    def play(self, seed: int, operator: Operator | None = None, *, demonstrate: bool = False) -> PlayedEpisode:
        """One episode from reset to success or time-out.

        Args:
            seed: Of scene and noise.
            operator: May take over.
            demonstrate: Whether the operator drives from the first step to the last.
        """
        self.scene.reset(seed)
        if operator is not None:
            operator.begin(demonstrate=demonstrate)
        turn = _Turns(self, seed, operator, human_drives=demonstrate)
        while not self.over:
            turn.next()
        return turn.episode()

    @property
    def over(self) -> bool:
        """Whether the episode has succeeded or timed out."""
        return self.scene.success() or self.scene.tick >= self.rules.max_steps

    def execute(self, chunk: FloatArray) -> None:
        """Play C steps of a chunk, or as many as there are before the end; nothing is recorded."""
        reference, actions = self.scene.pose(), self.backend.spec.denormalise(chunk)
        for action in actions[: self.rules.execute_steps]:
            self.scene.drive(*target_of(reference, action))
            if self.scene.success():
                return


class _Turns:
    """An episode that is being played: turns of the policy (a chunk) and of the operator (until they hand back)."""

    def __init__(self, rollout: Rollout, seed: int, operator: Operator | None, *, human_drives: bool) -> None:
        self.rollout, self.scene, self.seed = rollout, rollout.scene, seed
        self.operator, self.human_drives = operator, human_drives
        self.decisions: dict[str, list[Any]] = {}
        self.truth: dict[str, list[Any]] = {}
        self.steps: dict[str, list[Any]] = {}
        self._requests, self._queries = 0, 0

    def next(self) -> None:
        """One turn."""
        if self.human_drives and self.operator is not None:
            self._human_turn(self.operator)
        else:
            self._policy_turn()

    def _policy_turn(self) -> None:
        rules = self.rollout.rules
        output = self._decide()
        row, reference = self._last_row, self.scene.pose()
        actions = self.rollout.backend.spec.denormalise(output.chunk)
        for step in range(rules.execute_steps):
            if rules.query_always and step and step % rules.query_stride == 0:
                self._decide(acted=False)
            refused = self._step(*target_of(reference, actions[step]), row, step)
            if refused or self.human_drives or self.rollout.over:
                return

    def _human_turn(self, operator: Operator) -> None:
        while self.human_drives and not self.rollout.over:
            if self.scene.tick % self.rollout.rules.query_stride == 0 or not self.decisions:
                self._decide(acted=False)
            self._step(*operator.command(), self._last_row, -1)

    def _sequence(self, *, acted: bool) -> int:
        """Number of the request, counted as arm_node does."""
        if acted:
            self._requests += 1
            return self._requests - 1
        self._queries += 1
        return QUERY_SEQUENCE + self._queries - 1

    @property
    def _last_row(self) -> int:
        return len(self.decisions["tick"]) - 1

    def _decide(self, *, acted: bool = True) -> PolicyOutput:
        proposal = self.rollout.proposal(self.seed, self._sequence(acted=acted))
        output = decide(self.rollout.policy, proposal, self.rollout.config)
        _append(
            self.decisions,
            features=proposal.features, candidates=proposal.candidates, noise=proposal.noise, chunk=output.chunk,
            picked=np.int32(output.candidate), source=np.uint8(output.source), acted=np.bool_(acted),
            tick=np.int32(self.scene.tick), reference=_flat(self.scene.pose()), proprio=proposal.proprio,
            **({"images": proposal.images} if self.rollout.rules.images else {}),
        )  # fmt: skip
        _append(self.truth, **self.scene.truth())
        return output

    def _step(self, pose: Pose, opening: float, row: int, step: int) -> bool:
        """One control step; whether the limits refused it."""
        by_human = self.human_drives
        driven = self.scene.drive(pose, opening, by_human=by_human)
        actor = Actor.HOLD if driven.refused else Actor.HUMAN if by_human else Actor.POLICY
        _append(
            self.steps,
            actor=np.uint8(actor), decision=np.int32(row), step=np.int32(step), target=_flat(driven.pose),
            commanded=np.float64(driven.opening),
        )  # fmt: skip
        if self.operator is not None:
            self.human_drives = self.operator.watch(driven.opening)
        return driven.refused

    def episode(self) -> PlayedEpisode:
        """Everything as arrays."""
        rows = {name: np.stack(values) for name, values in (self.decisions | self.steps).items()}
        truth = {name: np.stack(values) for name, values in self.truth.items()}
        return PlayedEpisode(
            **rows, seed=np.asarray(self.seed), success=np.asarray(self.scene.success()), truth=truth
        )  # fmt: skip


def target_of(reference: Pose, action: FloatArray) -> tuple[Pose, float]:
    """A Cartesian action [7] relative to `reference`, physical units -> TCP target, gripper opening."""
    return displaced(reference, action), float(np.clip(action[6], 0.0, 1.0))


def _flat(pose: Pose) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.concatenate([pose.position, pose.quaternion_xyzw()])


def _append(rows: dict[str, list[Any]], **values: Any) -> None:
    for name, value in values.items():
        rows.setdefault(name, []).append(value)
