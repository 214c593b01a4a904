# SPDX-License-Identifier: Apache-2.0
"""Recorded demonstrations as transitions: the VLA looks on, as it does while a person drives.

A learner needs what was done, and beside it what the VLA saw and would have done; that is computed here, once.

Legend: N candidates, T frames, J joints of the arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rl_learner.core.dataset import DatasetError, Recorded
from rl_learner.core.episode import Episode, Rules, build
from rl_learner.core.records import Actor, Asked, Decision, Doubles, Event, Judgement, Outcome, Step
from rl_learner.core.transition import Transition
from vla_policy.core.images import fit
from vla_policy.core.joints import proprioception
from vla_policy.core.protocol import Backend, Observation
from vla_policy.core.serving import checked_chunks, checked_features, contract_of, draw_noise
from vla_policy.core.steering.protocol import Kind
from whetstone_common.core.kinematics import Kinematics, Pose
from whetstone_common.core.stamp import Stamp

_NS_PER_S = 1_000_000_000
_FPS_TOLERANCE = 0.01


@dataclass(frozen=True)
class Looks:
    """How the VLA looks on.

    Attributes:
        candidates: N.
        stride: Frames between two looks.
        crop: How an image of another shape is made to fit, as observation_node's parameter.
    """

    candidates: int = 8
    stride: int = 2
    crop: str = "center"


class Onlooker:
    """Makes transitions of recorded episodes.

    Args:
        backend: The VLA.
        kinematics: Of the arm.
        joint_names: Of the arm, then of the gripper.
        rules: How windows are cut.
        looks: How the VLA looks on.
    """

    def __init__(
        self, backend: Backend, kinematics: Kinematics, joint_names: Sequence[str], rules: Rules, looks: Looks
    ) -> None:
        self._backend, self._kinematics, self._rules, self._looks = backend, kinematics, rules, looks
        self.contract = contract_of(backend.spec, tuple(joint_names), "")

    def check(self, fps: float, cameras: Sequence[str]) -> None:
        """Refuse a dataset that this policy cannot look at.

        Raises:
            DatasetError: The text says what differs.
        """
        spec = self._backend.spec
        if missing := [name for name in spec.cameras if name not in cameras]:
            raise DatasetError(f"the policy looks through {missing}, the dataset has {sorted(cameras)}")
        if abs(fps * spec.dt_s - 1.0) > _FPS_TOLERANCE:
            raise DatasetError(f"the dataset has {fps:g} frames per second, the policy {1.0 / spec.dt_s:g}")

    def transitions(self, recorded: Recorded, number: int) -> list[Transition]:
        """Transitions of the episode of that number; none of one that a person did not drive from end to end.

        Raises:
            DatasetError: Numbers that are not finite, or of another arm.
        """
        if not bool((recorded.actors == Actor.HUMAN).all()):
            return []
        self._check_numbers(recorded, number)
        heard = Episode(epoch=1, number=number, started=True, steps_done=True)
        targets = self._targets(recorded)
        for frame in range(0, len(recorded), self._looks.stride):
            heard.decisions[frame + 1] = self._decision(recorded, number, frame)
        for frame in range(len(recorded)):
            seen = frame - frame % self._looks.stride
            heard.steps[frame] = Step(
                stamp=self._stamp(number, seen),
                step=-1,
                episode_step=frame,
                time_ns=self._time_ns(frame),
                actor=Actor.HUMAN,
                joint_command=recorded.actions[frame],
                tcp_target=targets[frame],
            )
        heard.rewards[len(recorded)] = Judgement(1, number, len(recorded), float(recorded.success))
        outcome = Outcome.SUCCEEDED if recorded.success else Outcome.FAILED
        heard.end = Event(1, number, outcome, "", len(recorded), self._time_ns(len(recorded)))
        return build(heard, self._rules, {self.contract.hash(): self.contract})[0]

    def _check_numbers(self, recorded: Recorded, number: int) -> None:
        wanted = len(self.contract.joint_names)
        for name, values in (("observation.state", recorded.states), ("action", recorded.actions)):
            if values.shape[1:] != (wanted,):
                raise DatasetError(f"episode {number}: {name} has {values.shape[1:]} numbers, the robot {wanted}")
            if not np.isfinite(values).all():
                raise DatasetError(f"episode {number}: {name} is not finite")

    def _targets(self, recorded: Recorded) -> Doubles:
        if recorded.targets is not None:
            return recorded.targets
        return np.stack([_numbers(self._kinematics.fk(action[:-1])) for action in recorded.actions])

    def _decision(self, recorded: Recorded, number: int, frame: int) -> Decision:
        spec, looks, state = self._backend.spec, self._looks, recorded.states[frame]
        tcp = self._kinematics.fk(state[:-1])
        proprio = proprioception(spec.action_space, state, tcp)
        size = (spec.image_height_px, spec.image_width_px)
        images = {name: fit(recorded.images[name][frame], *size, crop=looks.crop) for name in spec.cameras}
        context = self._backend.prefix(Observation(images, proprio, recorded.instruction))
        noise = draw_noise(looks.candidates, spec, number, frame)
        candidates = checked_chunks(self._backend, context, noise)
        return Decision(
            stamp=self._stamp(number, frame),
            asked=Asked.LOOK,
            contract_hash=self.contract.hash(),
            method="",
            instruction=recorded.instruction,
            kind=Kind.BASE,
            chosen=0,
            reference=_numbers(tcp) if spec.action_space == "cartesian" else state[:-1],
            features=checked_features(self._backend, context),
            proprio=proprio,
            candidates=candidates,
            noise=noise,
            chosen_chunk=candidates[0],
        )

    def _stamp(self, number: int, frame: int) -> Stamp:
        return Stamp(1, number, frame + 1, frame + 1, self._time_ns(frame))

    def _time_ns(self, frame: int) -> int:
        return round(frame * self._backend.spec.dt_s * _NS_PER_S)


def _numbers(pose: Pose) -> Doubles:
    return np.concatenate([pose.position, pose.quaternion_xyzw()])
