# SPDX-License-Identifier: Apache-2.0
"""From a transition, as the spool keeps it, to a window, as the replay does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experience.core.records import Bytes, EpisodeEventKind, Floats
from experience.core.transition import Transition
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
        epoch: Of the episode that arrives.
        episode: Within the epoch.
        covered: Its steps that have been counted.
        length: All its steps.
        episode_human_steps: Of the covered ones, commanded by a person.
        episode_chunks: Executed in it.
        episode_steered: Of them, edits or steered noise.
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
    epoch: int = 0
    episode: int = 0
    covered: int = 0
    length: int = 0
    episode_human_steps: int = 0
    episode_chunks: int = 0
    episode_steered: int = 0

    @property
    def finished(self) -> int:
        """Episodes of which nothing more is to come."""
        return self.episodes - int(self.covered < self.length)

    @property
    def succeeded_alone(self) -> bool:
        """Whether the episode that arrives succeeded, and nobody helped in it so far."""
        return bool(self.successes and self.successes[-1]) and self.episode_human_steps == 0

    def add(self, made: Transition) -> int:
        """Counts a transition; returns the control steps that are new."""
        if (made.epoch, made.episode) != (self.epoch, self.episode) or self.episodes == 0:
            self.epoch, self.episode, self.covered = made.epoch, made.episode, 0
            self.episodes, self.length = self.episodes + 1, made.episode_steps
            self.episode_human_steps = self.episode_chunks = self.episode_steered = 0
            self.successes = (*self.successes, int(made.outcome == EpisodeEventKind.SUCCEEDED))[-RECENT:]
        end = made.episode_step + made.steps
        fresh = max(0, end - max(self.covered, made.episode_step))
        self.covered = max(self.covered, end)
        self.steps += fresh
        if fresh:
            by_person = int((made.actors[-fresh:] == Actor.HUMAN).sum())
            self.human_steps += by_person
            self.episode_human_steps += by_person
        if made.request_kind == RequestKind.ACT:
            is_steered = int(made.kind != ChunkSource.BASE)
            self.steered = (*self.steered, is_steered)[-RECENT_CHUNKS:]
            self.episode_chunks += 1
            self.episode_steered += is_steered
        return fresh
