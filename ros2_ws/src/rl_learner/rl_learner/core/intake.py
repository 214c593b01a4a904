# SPDX-License-Identifier: Apache-2.0
"""From a transition, as the spool keeps it, to a window, as the replay does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rl_learner.core.records import Actor, Asked, Floats, Outcome
from rl_learner.core.replay import ReplayShape, Window
from rl_learner.core.transition import Transition
from vla_policy.core.steering.protocol import Kind

_SAME = 1e-6  # messages carry the discount as a float32


class DiscountError(ValueError):
    """Rewards inside a window were discounted otherwise than the method discounts."""


def window_of(made: Transition, shape: ReplayShape, discount: float) -> Window:
    """The window of a transition.

    A window that was cut short (at an episode's end, at an earlier decision) keeps C actions: what was executed after
    it follows. Its bootstrap is discounted by the steps that it really took.

    Raises:
        DiscountError: It was made with another discount than the method's.
        ValueError: It does not fit the shape, or a number is not finite.
    """
    if not math.isclose(made.gamma, discount, rel_tol=_SAME):
        raise DiscountError(f"gamma is {made.gamma:.6g}, the method's discount is {discount:.6g}")
    if not 1 <= made.steps <= shape.steps:
        raise ValueError(f"a window of {made.steps} steps, expected 1..{shape.steps}")
    if not math.isfinite(made.return_unaided):
        raise ValueError(f"return_unaided is {made.return_unaided}")
    chunk = slice(0, shape.steps)
    candidates = _fill(made.candidates, shape.candidates)
    # Nothing follows a judged end; what is kept there instead is multiplied by a mask of 0.
    following = _fill(made.next_candidates, shape.candidates) if len(made.next_candidates) else candidates
    was_acted = made.request_kind == Asked.ACT
    return Window(
        features=made.features,
        actions=made.actions[chunk],
        candidates=candidates[:, chunk],
        noise=_fill(made.noise, shape.candidates),
        reward=made.reward,
        mask=made.mask,
        discount=made.gamma**made.steps,
        valid=float(made.valid),
        mc_return=made.return_unaided,
        success=float(made.outcome == Outcome.SUCCEEDED),
        human=float((made.actors == Actor.HUMAN).mean()),
        refused=float(made.refused),
        proposed=(made.chosen_chunk if was_acted else made.actions)[chunk],
        next_features=made.next_features if len(made.next_features) else made.features,
        next_candidates=following[:, chunk],
    )


def _fill(chunks: Floats, count: int) -> Floats:
    """(count, ...) the first ones, or all of them again and again."""
    return chunks[np.arange(count) % len(chunks)]


RECENT, RECENT_CHUNKS = 20, 100  # over which rates are shown


@dataclass
class Tally:
    """What has been received, in control steps and episodes; windows of one episode may overlap.

    Attributes:
        windows: Taken into the replay.
        refused: Windows that were not.
        other_discount: Of the refused, made with another discount than the method's.
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
    other_discount: int = 0
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

    def add(self, made: Transition) -> int:
        """Counts a transition; returns the control steps that are new."""
        if (made.epoch, made.episode) != (self.epoch, self.episode) or self.episodes == 0:
            self.epoch, self.episode, self.covered = made.epoch, made.episode, 0
            self.episodes, self.length = self.episodes + 1, made.episode_steps
            self.episode_human_steps = self.episode_chunks = self.episode_steered = 0
            self.successes = (*self.successes, int(made.outcome == Outcome.SUCCEEDED))[-RECENT:]
        end = made.episode_step + made.steps
        fresh = max(0, end - max(self.covered, made.episode_step))
        self.covered = max(self.covered, end)
        self.steps += fresh
        if fresh:
            by_person = int((made.actors[-fresh:] == Actor.HUMAN).sum())
            self.human_steps += by_person
            self.episode_human_steps += by_person
        if made.request_kind == Asked.ACT:
            is_steered = int(made.kind != Kind.BASE)
            self.steered = (*self.steered, is_steered)[-RECENT_CHUNKS:]
            self.episode_chunks += 1
            self.episode_steered += is_steered
        return fresh
