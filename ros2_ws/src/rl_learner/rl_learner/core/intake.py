# SPDX-License-Identifier: Apache-2.0
"""From a transition, as the spool keeps it, to a window, as the replay does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from experience.core.records import Bytes, EpisodeEventKind, Floats
from experience.core.transition import Transition
from rl_learner.core.receipts import SOLE
from rl_learner.core.replay import ImageArray, Window
from rl_methods.base import ChunkSource
from rl_methods.common.batch import WindowShape
from vla_policy.core.stacked_images import decoded
from whetstone_common.core.enums import Actor, RequestKind
from whetstone_common.core.pixels import squared


class MissingImagesError(ValueError):
    """The method has an image encoder, and the transitions of this run have no images: all others will be like it."""


def window_of(made: Transition, shape: WindowShape, discount: float) -> Window:
    """The window of a transition.

    A window that was cut short (at an episode's end, at an earlier decision) keeps C actions: what was executed after
    it follows. Its bootstrap is discounted by the steps that it really took.

    Args:
        made: The transition.
        shape: Of the windows of the replay.
        discount: Per control step.

    Raises:
        MissingImagesError: The method needs images, and there are none.
        ValueError: It does not fit the shape, or a number is not finite.
    """
    if not 1 <= made.steps <= shape.steps:
        raise ValueError(f"a window of {made.steps} steps, expected 1..{shape.steps}")
    if len(made.rewards) != made.steps:
        raise ValueError(f"{len(made.rewards)} rewards for {made.steps} steps")
    rewards = np.concatenate([made.rewards, made.later_rewards]).astype(np.float64)
    if not np.isfinite(rewards).all():
        raise ValueError("a reward is not finite")
    discounted = rewards * discount ** np.arange(len(rewards))
    chunk = slice(0, shape.steps)
    candidates = _fill(made.candidates, shape.candidates)
    # Nothing follows a judged end; what is kept there instead is multiplied by a mask of 0.
    following = _fill(made.next_candidates, shape.candidates) if len(made.next_candidates) else candidates
    was_acted = made.request_kind == RequestKind.ACT
    images = _images(made.images, shape)
    return Window(
        features=made.features,
        actions=made.actions[chunk],
        candidates=candidates[:, chunk],
        noise=_fill(made.noise, shape.candidates),
        reward=float(discounted[: made.steps].sum()),
        mask=made.mask,
        discount=discount**made.steps,
        valid=float(made.valid),
        mc_return=float(discounted.sum()),
        success=float(made.outcome == EpisodeEventKind.SUCCEEDED),
        human=float((made.actors == Actor.HUMAN).mean()),
        refused=float(made.rejected_by_human),
        proposed=(made.chosen_chunk if was_acted else made.actions)[chunk],
        next_features=made.next_features if len(made.next_features) else made.features,
        next_candidates=following[:, chunk],
        proprio=_proprio(made.proprio, shape),
        next_proprio=_proprio(made.next_proprio if len(made.next_proprio) else made.proprio, shape),
        images=images,
        next_images=_images(made.next_images, shape) if len(made.next_features) else images,
    )


def _proprio(proprio: Floats, shape: WindowShape) -> Floats:
    return proprio if shape.proprio else proprio[:0]


def _images(data: Bytes, shape: WindowShape) -> ImageArray:
    """[K, S, S, 3] of a PNG, (0,) where no encoder asks for them."""
    if not shape.cameras:
        return np.zeros(0, np.uint8)
    if not data.size:
        raise MissingImagesError("transitions hold no images, the method's encoder needs them")
    return squared(decoded(data, shape.cameras), shape.image_size)


def _fill(chunks: Floats, count: int) -> Floats:
    """(count, ...) the first ones, or all of them again and again."""
    return chunks[np.arange(count) % len(chunks)]


RECENT, RECENT_CHUNKS = 20, 100  # over which rates are shown
_EARLIER_COUNTS = {"other_discount"}  # in checkpoints of releases whose transitions held discounted rewards


@dataclass
class ArrivingEpisode:
    """The newest episode of a robot, as far as it has come.

    Attributes:
        epoch: Of the arm.
        episode: Within the epoch.
        success: 1 when it succeeded.
        covered: Its steps that have been counted.
        length: All its steps.
        episode_human_steps: Of the covered ones, commanded by a person.
        episode_chunks: Executed in it.
        episode_steered: Of them, edits or steered noise.
    """

    epoch: int = 0
    episode: int = 0
    success: int = 0
    covered: int = 0
    length: int = 0
    episode_human_steps: int = 0
    episode_chunks: int = 0
    episode_steered: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all its steps have come."""
        return self.covered >= self.length

    @property
    def succeeded_alone(self) -> bool:
        """Whether it succeeded, and nobody helped in it so far."""
        return bool(self.success) and self.episode_human_steps == 0

    def add(self, made: Transition) -> tuple[int, int]:
        """Count a transition of it; returns the control steps that are new, and how many of them a person commanded."""
        end = made.episode_step + made.steps
        fresh = max(0, end - max(self.covered, made.episode_step))
        self.covered = max(self.covered, end)
        by_person = int((made.actors[-fresh:] == Actor.HUMAN).sum()) if fresh else 0
        self.episode_human_steps += by_person
        return fresh, by_person


_OF_SOLE = {field.name for field in fields(ArrivingEpisode)} - {"success"}


@dataclass
class RunStatistics:
    """What has been received, in control steps and episodes; windows of one episode may overlap.

    Attributes:
        windows: Taken into the replay.
        refused: Windows that were not.
        without_images: Of the refused, made without the images that the method's encoder needs.
        lost: Windows that the sender had dropped.
        steps: Control steps.
        human_steps: Of them, commanded by a person.
        episodes: That have begun to arrive.
        successes: One entry per episode, the newest last, at most RECENT.
        steered: One entry per executed chunk, 1 for an edit or steered noise; the newest last, at most RECENT_CHUNKS.
        arriving: Newest episode of each robot that has sent one.
    """

    windows: int = 0
    refused: int = 0
    without_images: int = 0
    lost: int = 0
    steps: int = 0
    human_steps: int = 0
    episodes: int = 0
    successes: tuple[int, ...] = ()
    steered: tuple[int, ...] = ()
    arriving: dict[str, ArrivingEpisode] = field(default_factory=dict)

    @property
    def finished(self) -> int:
        """Episodes of which nothing more is to come; other threads may ask while one arrives."""
        return self.episodes - sum(not episode.is_whole for episode in tuple(self.arriving.values()))

    def add(self, made: Transition, robot: str = SOLE) -> int:
        """Counts a transition of a robot; returns the control steps that are new."""
        episode = self.arriving.get(robot)
        if episode is None or (made.epoch, made.episode) != (episode.epoch, episode.episode):
            succeeded = int(made.outcome == EpisodeEventKind.SUCCEEDED)
            episode = ArrivingEpisode(made.epoch, made.episode, succeeded, length=made.episode_steps)
            self.arriving[robot] = episode
            self.episodes += 1
            self.successes = (*self.successes, succeeded)[-RECENT:]
        fresh, by_person = episode.add(made)
        self.steps += fresh
        self.human_steps += by_person
        if made.request_kind == RequestKind.ACT:
            is_steered = int(made.kind != ChunkSource.BASE)
            self.steered = (*self.steered, is_steered)[-RECENT_CHUNKS:]
            episode.episode_chunks += 1
            episode.episode_steered += is_steered
        return fresh

    def rename(self, former: str, robot: str) -> None:
        """A robot has another name than before."""
        if former in self.arriving:
            self.arriving[robot] = self.arriving.pop(former)

    # -- as a checkpoint ----------------------------------------------------------------------------------------------

    def notes(self) -> dict[str, Any]:
        """In terms of JSON; the episode of a sole robot stands beside the counts, as there was only one once."""
        counts = asdict(self)
        arriving = counts.pop("arriving")
        sole = arriving.pop(SOLE, None) if arriving else asdict(ArrivingEpisode())
        counts |= {name: value for name, value in (sole or {}).items() if name in _OF_SOLE}
        return counts | ({"arriving": arriving} if arriving else {})

    @classmethod
    def of_notes(cls, notes: Mapping[str, Any]) -> RunStatistics:
        """What `notes` gave."""
        kept = {name: value for name, value in notes.items() if name not in _EARLIER_COUNTS}
        counts: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()}
        arriving = {name: ArrivingEpisode(**episode) for name, episode in counts.pop("arriving", {}).items()}
        sole = {name: counts.pop(name) for name in _OF_SOLE if name in counts}
        tally = cls(**counts, arriving=arriving)
        if sole and tally.episodes:
            arriving[SOLE] = ArrivingEpisode(**sole, success=tally.successes[-1])
        return tally
