# SPDX-License-Identifier: Apache-2.0
"""Recorded demonstrations as transitions: the VLA looks on, as it does while a person drives.

A learner needs what was done, and beside it what the VLA saw and would have done; that is computed here, once.

Legend: N candidates, T frames, J joints of the arm.
"""

from __future__ import annotations

from dataclasses import dataclass

from experience.core.dataset import DatasetEpisode
from experience.core.episode import EpisodeRecords, Rules, build
from experience.core.records import Decision, EpisodeEventKind, Event, StepRecord, StepReward, no_bytes
from experience.core.transition import Transition
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from rl_methods.base import ChunkSource
from vla_policy.core.protocol import Backend
from vla_policy.core.serving import checked_chunks, checked_features, draw_noise
from vla_policy.core.stacked_images import encoded, stacked
from whetstone_common.core.enums import Actor, RequestKind
from whetstone_common.core.stamp import Stamp

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class LabelConfig:
    """How the VLA looks on.

    Attributes:
        candidates: N.
        stride: Frames between two looks.
        images: Whether the transitions hold images, for methods with an image encoder.
    """

    candidates: int = 8
    stride: int = 2
    images: bool = False


class DemonstrationLabeler:
    """Makes transitions of recorded episodes.

    Args:
        backend: The VLA.
        watcher: Sees the episodes as the VLA would have.
        rules: How windows are cut.
        looks: How the VLA looks on.
    """

    def __init__(self, backend: Backend, watcher: EpisodePreprocessor, rules: Rules, looks: LabelConfig) -> None:
        self._backend, self._watcher, self._rules, self._looks = backend, watcher, rules, looks

    def transitions(self, recorded: DatasetEpisode, number: int) -> list[Transition]:
        """Transitions of the episode of that number; none of one that a person did not drive from end to end.

        Raises:
            DatasetError: Numbers that are not finite, or of another arm.
        """
        if not bool((recorded.actors == Actor.HUMAN).all()):
            return []
        self._watcher.check_numbers(recorded, number)
        heard = EpisodeRecords(epoch=1, number=number, started=True, steps_done=True)
        targets, contract = self._watcher.targets(recorded), self._watcher.contract
        for frame in range(0, len(recorded), self._looks.stride):
            heard.decisions[frame + 1] = self._decision(recorded, number, frame)
        for frame in range(len(recorded)):
            seen = frame - frame % self._looks.stride
            heard.steps[frame] = StepRecord(
                stamp=self._stamp(number, seen),
                step=-1,
                episode_step=frame,
                time_ns=self._time_ns(frame),
                actor=Actor.HUMAN,
                joint_command=recorded.actions[frame],
                tcp_target=targets[frame],
            )
        heard.rewards[len(recorded)] = StepReward(1, number, len(recorded), float(recorded.success))
        outcome = EpisodeEventKind.SUCCEEDED if recorded.success else EpisodeEventKind.FAILED
        heard.end = Event(1, number, outcome, "", len(recorded), self._time_ns(len(recorded)))
        return build(heard, self._rules, {contract.hash(): contract})[0]

    def _decision(self, recorded: DatasetEpisode, number: int, frame: int) -> Decision:
        observation = self._watcher.observation(recorded, frame)
        context = self._backend.prefix(observation)
        noise = draw_noise(self._looks.candidates, self._backend.spec, number, frame)
        candidates = checked_chunks(self._backend, context, noise)
        return Decision(
            stamp=self._stamp(number, frame),
            request_kind=RequestKind.QUERY_ONLY,
            contract_hash=self._watcher.contract.hash(),
            method="",
            instruction=recorded.instruction,
            kind=ChunkSource.BASE,
            chosen=0,
            reference=self._watcher.reference(recorded, frame),
            features=checked_features(self._backend, context),
            proprio=observation.proprio,
            candidates=candidates,
            noise=noise,
            chosen_chunk=candidates[0],
            images=encoded(stacked(observation.images, self._backend.spec.cameras))
            if self._looks.images
            else no_bytes(),
        )

    def _stamp(self, number: int, frame: int) -> Stamp:
        return Stamp(1, number, frame + 1, frame + 1, self._time_ns(frame))

    def _time_ns(self, frame: int) -> int:
        return round(frame * self._backend.spec.dt_s * _NS_PER_S)
