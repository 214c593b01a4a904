# SPDX-License-Identifier: Apache-2.0
"""From features of episodes to a value function, and from that to a label for every frame.

Legend: E episodes, T frames of one, n of them that were looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rl_methods.base import EpisodeLabels
from rl_methods.common.episode_features import EpisodeFeatures
from rl_methods.recap.labels import TaskLabels, label
from rl_methods.recap.returns import Doubles, EpisodeOutcome, advantages_of, returns_of
from rl_methods.recap.settings import RecapSettings
from rl_methods.recap.value import ReturnDistributionNetwork, ValueData, ValueFit, fit_value
from whetstone_common.core.enums import Actor

Metrics = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Frames of an episode that are trained on.

    Attributes:
        frames: int64 [n], those that somebody commanded.
        positive: bool [n].
    """

    frames: NDArray[np.int64]
    positive: NDArray[np.bool_]


def outcome_of(episode: EpisodeLabels, settings: RecapSettings) -> EpisodeOutcome:
    """What an episode's own labels say."""
    return EpisodeOutcome(settings.task_of(episode.instruction), episode.success, episode.actors == Actor.HUMAN)


def lengths_of(outcomes: Sequence[EpisodeOutcome], max_length: int) -> dict[str, int]:
    """Maximum length of each task.

    Raises:
        ValueError: An episode is longer than it may be.
    """
    longest: dict[str, int] = {}
    for outcome in outcomes:
        longest[outcome.task] = max(len(outcome), longest.get(outcome.task, 0))
    if max_length == 0:
        return longest
    for task, length in longest.items():
        if length > max_length:
            raise ValueError(f"max_length is {max_length}, an episode of {task!r} has {length} steps; 0 takes those")
    return dict.fromkeys(longest, max_length)


def held_out(count: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Bool [E], which episodes the value function is measured on; at least one is left to train with."""
    chosen = np.zeros(count, dtype=np.bool_)
    order = np.random.default_rng([seed, 7]).permutation(count)
    chosen[order[: min(count - 1, round(share * count))]] = True
    return chosen


def learn_values(
    episodes: Sequence[EpisodeFeatures], lengths: Mapping[str, int], settings: RecapSettings, report: Metrics
) -> tuple[ReturnDistributionNetwork, ValueFit]:
    """Fit a value function to the returns of episodes; raises as `fit_value`."""
    held = held_out(len(episodes), settings.held_out, settings.seed)
    rows = [_data(episode, lengths, settings) for episode in episodes]
    train = _joined([row for row, is_held in zip(rows, held, strict=True) if not is_held])
    check = _joined([row for row, is_held in zip(rows, held, strict=True) if is_held]) if held.any() else None
    return fit_value(train, check, settings, report)


@torch.no_grad()
def advantages(
    network: ReturnDistributionNetwork, episode: EpisodeFeatures, lengths: Mapping[str, int], settings: RecapSettings
) -> Doubles:
    """[T] N-step advantages of an episode's frames."""
    values = network.value(torch.from_numpy(episode.features)).double().numpy()
    outcome = outcome_of(episode.labels, settings)
    length = lengths[outcome.task]
    return advantages_of(outcome, episode.along(values), settings.n_step, settings.failure_cost, length)


def label_episodes(
    network: ReturnDistributionNetwork,
    episodes: Sequence[EpisodeFeatures],
    lengths: Mapping[str, int],
    settings: RecapSettings,
) -> tuple[list[Labelled], dict[str, TaskLabels]]:
    """Label of every frame that is trained on, and what became of each task."""
    outcomes = [outcome_of(episode.labels, settings) for episode in episodes]
    scored = [advantages(network, episode, lengths, settings) for episode in episodes]
    chosen = [_chosen(episode) for episode in episodes]
    positive, counts = label(outcomes, scored, chosen, settings.positive_share)
    frames = [np.flatnonzero(pick) for pick in chosen]
    return [Labelled(each, good[each]) for each, good in zip(frames, positive, strict=True)], counts


def _chosen(episode: EpisodeFeatures) -> NDArray[np.bool_]:
    """Bool [T], frames that were looked at and that somebody commanded; an arm that held still teaches nothing."""
    chosen = np.zeros(len(episode.labels), dtype=np.bool_)
    chosen[episode.frames] = True
    return chosen & (episode.labels.actors != Actor.HOLD)


def _data(episode: EpisodeFeatures, lengths: Mapping[str, int], settings: RecapSettings) -> ValueData:
    outcome = outcome_of(episode.labels, settings)
    returns = returns_of(outcome, settings.failure_cost, lengths[outcome.task])[episode.frames]
    return ValueData(torch.from_numpy(episode.features), torch.from_numpy(returns).float())


def _joined(rows: Sequence[ValueData]) -> ValueData:
    return ValueData(torch.cat([row.features for row in rows]), torch.cat([row.returns for row in rows]))
