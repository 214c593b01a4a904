# SPDX-License-Identifier: Apache-2.0
"""Plays episodes in a vector environment, one chunk of every environment at a time.

Which episodes are played, and how, follows from seeds alone: one environment gives the same decisions as eight.

Legend: B environments that still play, T decisions, C steps of a chunk, F features.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rl_learner.core.on_policy.vla import Embodiment
from rl_methods.common.flow_policy import FlowContext
from rl_methods.ppo.algorithm import Ppo
from rl_methods.ppo.chains import Chains, join_chains
from rl_methods.ppo.decisions import Decisions

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

Key = tuple[int, ...]
_IDLE_SEED = 0


@dataclass(frozen=True)
class CollectedEpisode:
    """An episode that was played.

    Attributes:
        seed: Of the scene.
        success: Whether the task was done.
        ticks: Control ticks that it took.
    """

    seed: int
    success: bool
    ticks: int


@dataclass(eq=False)
class _Episode:
    """One that is being played; a row per decision."""

    number: int
    seed: int
    ticks: int = 0
    success: bool = False
    contexts: list[FlowContext] = field(default_factory=list)
    chains: list[Chains] = field(default_factory=list)
    executed: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    bootstraps: bool = False
    final: Tensor | None = None  # [1, F] features at the end, where they matter

    def result(self) -> CollectedEpisode:
        return CollectedEpisode(self.seed, self.success, self.ticks)


class Collector:
    """Plays whole episodes with one policy.

    Args:
        envs: Chunk environments that are not reset by themselves (`sim_bridge.core.vector.make_vector`); their infos
            hold `ticks` and `success`.
        embodiment: The policy's eyes and hands there.
        ppo: Policy, and how it explores.
    """

    def __init__(self, envs: VectorEnv, embodiment: Embodiment, ppo: Ppo) -> None:
        self._envs: Any = envs  # whose seeds may be a list, which its base class does not say
        self._embodiment, self._ppo = embodiment, ppo
        self._steps = ppo.settings.execute_steps

    def explore(self, seeds: Sequence[int], draw: Key) -> tuple[Decisions, list[CollectedEpisode]]:
        """Play episodes with noise in the denoising chains.

        Args:
            seeds: Of the scenes.
            draw: What determines the noise, besides seed and number of the decision.

        Returns:
            All decisions, episode after episode in the order of `seeds`, and how each went.
        """

        def choose(context: FlowContext, keys: list[Key], episodes: list[_Episode]) -> Tensor:
            chains = self._ppo.explore(context, [(*draw, *key) for key in keys])
            for row, episode in enumerate(episodes):
                index = torch.tensor([row])
                episode.contexts.append(context.rows(index))
                episode.chains.append(chains.rows(index))
            return chains.chunks

        episodes = self._play(seeds, choose)
        return self._decisions(episodes), [episode.result() for episode in episodes]

    def evaluate(self, seeds: Sequence[int]) -> list[CollectedEpisode]:
        """Play episodes as the model is served: without noise in the chain; results in the order of `seeds`."""

        def choose(context: FlowContext, keys: list[Key], _episodes: list[_Episode]) -> Tensor:
            return self._ppo.act(context, keys)

        return [episode.result() for episode in self._play(seeds, choose)]

    def _play(
        self, seeds: Sequence[int], choose: Callable[[FlowContext, list[Key], list[_Episode]], Tensor]
    ) -> list[_Episode]:
        waiting = deque(_Episode(number, seed) for number, seed in enumerate(seeds))
        live: dict[int, _Episode] = {}
        free = list(range(self._envs.num_envs))
        done: list[_Episode] = []
        observation: Any = None
        while waiting or live:
            observation = self._start(free, waiting, live, observation)
            rows = sorted(live)
            context = self._embodiment.encode(observation, rows)
            keys: list[Key] = [(live[row].seed, len(live[row].rewards)) for row in rows]
            chunks = choose(context, keys, [live[row] for row in rows])
            observation, rewards, terminated, truncated, info = self._envs.step(self._actions(chunks, rows))
            for row in rows:
                self._note(live[row], rewards[row], info, row)
            free = [row for row in range(self._envs.num_envs) if terminated[row] or truncated[row]]
            for row in live.keys() & set(free):
                episode = live.pop(row)
                episode.success = bool(info["success"][row])
                self._end(episode, observation, row, is_truncated=bool(truncated[row]))
                done.append(episode)
        return sorted(done, key=lambda episode: episode.number)

    def _start(self, free: list[int], waiting: deque[_Episode], live: dict[int, _Episode], observation: Any) -> Any:
        """Reset free environments, and give them the next episodes; returns the observation of all environments.

        Those for which none is left play a scene that nobody looks at, as an environment whose episode is over must not
        be stepped.
        """
        if not free:
            return observation
        seeds = [_IDLE_SEED] * self._envs.num_envs
        for row in free[: len(waiting)]:
            live[row] = waiting.popleft()
            seeds[row] = live[row].seed
        mask = np.zeros(self._envs.num_envs, dtype=bool)
        mask[free] = True
        return self._envs.reset(seed=seeds, options={"reset_mask": mask})[0]

    def _actions(self, chunks: Tensor, rows: list[int]) -> np.ndarray:
        """[environments, C, A] in the environment's units; zeros for those that do not play."""
        dims = self._ppo.policy.chunk_shape[1]
        played = self._embodiment.actions(chunks[:, : self._steps, :dims].numpy())
        actions = np.zeros((self._envs.num_envs, *played.shape[1:]), dtype=np.float32)
        actions[rows] = played
        return actions

    def _note(self, episode: _Episode, reward: float, info: dict[str, Any], row: int) -> None:
        episode.rewards.append(float(reward))
        ticks = int(info["ticks"][row])
        episode.executed.append(max(1, ticks))
        episode.ticks += ticks

    def _end(self, episode: _Episode, observation: Any, row: int, *, is_truncated: bool) -> None:
        episode.bootstraps = is_truncated and self._ppo.settings.bootstrap_timeouts
        if episode.bootstraps:
            episode.final = self._embodiment.encode(observation, [row]).features

    def _decisions(self, episodes: list[_Episode]) -> Decisions:
        context = self._ppo.policy.join([c for episode in episodes for c in episode.contexts])
        last = torch.cat([_only_last(len(episode.rewards)) for episode in episodes])
        goes_on = torch.cat([_only_last(len(e.rewards)) & e.bootstraps for e in episodes])
        following = context.features.roll(-1, dims=0)
        final = [e.final for e in episodes if e.final is not None]
        if final:
            following[goes_on] = torch.cat(final)
        return Decisions(
            context=context,
            chains=join_chains([chains for episode in episodes for chains in episode.chains]),
            executed=torch.tensor([n for episode in episodes for n in episode.executed]),
            rewards=torch.tensor([r for episode in episodes for r in episode.rewards]),
            last=last,
            terminal=last & ~goes_on,
            next_features=following,
        )


def _only_last(count: int) -> Tensor:
    return torch.arange(1, count + 1) == count
