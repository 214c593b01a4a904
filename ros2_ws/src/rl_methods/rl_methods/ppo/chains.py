# SPDX-License-Identifier: Apache-2.0
"""Denoising chains with noise in them, and how likely they are.

The chain is a Markov process of its own inside each decision: the likelihood of a chunk is that of the points that led
to it (piRL, arXiv 2510.25889, section 4). Only steps that were played and real action dims count, and their mean is
taken, so that ratios do not depend on how long a chunk is.

Legend: B rows, K denoising steps, H horizon, A action dims, D noise dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rl_methods.common.flow_policy import FlowContext, FlowPolicy
from rl_methods.ppo.networks import NoiseNetwork
from rl_methods.ppo.transitions import entropy, log_density, ode_step, sde_step, times_of

ALL = -1  # instead of the number of the one noisy step


@dataclass(frozen=True, eq=False)
class Draws:
    """All randomness of some chains.

    Attributes:
        start: [B, H, D] standard normal.
        noise: [B, K, H, D] standard normal.
        step: int64 [B] number of the one noisy step, or `ALL`.
    """

    start: Tensor
    noise: Tensor
    step: Tensor

    @classmethod
    def of(cls, seeds: Sequence[Sequence[int]], shape: tuple[int, int], steps: int, *, single_step: bool) -> Draws:
        """Row by row from a seed each, so that a chain does not depend on its neighbours."""
        generators = [np.random.default_rng(list(seed)) for seed in seeds]
        points = np.stack([g.standard_normal((steps + 1, *shape), dtype=np.float32) for g in generators])
        chosen = [int(g.integers(steps)) if single_step else ALL for g in generators]
        both = torch.from_numpy(points)
        return cls(both[:, 0], both[:, 1:], torch.tensor(chosen))


@dataclass(frozen=True, eq=False)
class Chains:
    """Chains as they were sampled.

    Attributes:
        points: [B, K + 1, H, D], noise first.
        step: int64 [B] number of the one noisy step, or `ALL`.
        density: [B, H], see `FlowLikelihood.density`, by the policy that sampled them.
    """

    points: Tensor
    step: Tensor
    density: Tensor

    def rows(self, index: Tensor) -> Chains:
        """Some of them."""
        return Chains(self.points[index], self.step[index], self.density[index])

    @property
    def chunks(self) -> Tensor:
        """[B, H, D] what they led to."""
        return self.points[:, -1]


def join_chains(parts: Sequence[Chains]) -> Chains:
    """Chains one after the other."""
    names = ("points", "step", "density")
    return Chains(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def mean_of_played(values: Tensor, executed: Tensor) -> Tensor:
    """[B, H] -> [B]: mean over the first `executed` [B] steps, which were played; at least one is."""
    played = (torch.arange(values.shape[1])[None, :] < executed[:, None]).to(values.dtype)
    return (values * played).sum(1) / played.sum(1).clamp(min=1.0)


@dataclass(frozen=True, eq=False)
class FlowLikelihood:
    """Samples chains and rates them.

    Attributes:
        policy: Whose velocity field it is.
        steps: K.
        noise_level: a, of the SDE.
        network: Learnt noise instead of the SDE; None for the SDE.
    """

    policy: FlowPolicy
    steps: int
    noise_level: float
    network: NoiseNetwork | None = None

    @torch.no_grad()
    def sample(self, context: FlowContext, draws: Draws) -> Chains:
        """Denoise B chunks with noise in one step or in all of them."""
        x, points = draws.start, [draws.start]
        density = torch.zeros(x.shape[:2])
        for number in range(self.steps):
            mean, std, plain = self._step(context, x, torch.full((len(x),), number))
            noisy = (draws.step == number) | (draws.step == ALL)
            after = mean + std * draws.noise[:, number]
            density += noisy[:, None] * self._per_step(log_density(after, mean, std))
            x = torch.where(noisy[:, None, None], after, plain)
            points.append(x)
        whole = draws.step == ALL
        return Chains(torch.stack(points, dim=1), draws.step, density / torch.where(whole, self._terms, 1)[:, None])

    def density(self, context: FlowContext, chains: Chains) -> tuple[Tensor, Tensor]:
        """Log-density of each step of each chunk, and entropy of its noise.

        Points are taken as they were sampled; the chain is not run again. It is the mean over real action dims, and
        over the denoising steps where all of them are noisy. Of the learnt noise that mean is over K + 1 terms: the
        start is one of them, and cancels in every ratio.

        Args:
            context: Of B observations.
            chains: Of the same.

        Returns:
            [B, H] and [B, H].
        """
        if bool((chains.step == ALL).all()):
            return self._of_all(context, chains)
        rows = torch.arange(len(chains.step))
        x, after = chains.points[rows, chains.step], chains.points[rows, chains.step + 1]
        mean, std, _ = self._step(context, x, chains.step)
        return self._per_step(log_density(after, mean, std)), self._per_step(entropy(std).expand_as(after))

    def _of_all(self, context: FlowContext, chains: Chains) -> tuple[Tensor, Tensor]:
        count, shape = len(chains.step), (len(chains.step), self.steps, -1)
        before, after = chains.points[:, :-1].flatten(0, 1), chains.points[:, 1:].flatten(0, 1)
        mean, std, _ = self._step(context, before, torch.arange(self.steps).repeat(count))
        dense = self._per_step(log_density(after, mean, std)).view(shape).sum(1) / self._terms
        return dense, self._per_step(entropy(std).expand_as(after)).view(shape).mean(1)

    @property
    def _terms(self) -> int:
        return self.steps + (self.network is not None)

    def _step(self, context: FlowContext, x: Tensor, number: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and deviation of the noisy next point, and the ODE's next point."""
        time = times_of(number, self.steps)
        velocity = self.policy.velocity(context, x, time)
        plain = ode_step(x, velocity, self.steps)
        if self.network is None:
            return (*sde_step(x, velocity, number, self.steps, self.noise_level), plain)
        features = context.features.repeat_interleave(len(x) // len(context), dim=0)
        return plain, self.network(features, x, time), plain

    def _per_step(self, values: Tensor) -> Tensor:
        """[B, H, D] -> [B, H], padded dims left out."""
        return values[..., : self.policy.chunk_shape[1]].mean(-1)
