# SPDX-License-Identifier: Apache-2.0
"""PPO on a flow policy (piRL, arXiv 2510.25889): likelihoods of the denoising chain, a critic on VLA features.

The action expert is trained, the rest of the VLA is frozen. One iteration plays episodes with noise in the chain, rates
their chunks, and takes some epochs of clipped steps. What is served and evaluated is the deterministic ODE.

Legend: T decisions of an iteration, B of a gradient step, H horizon, A action dims, D noise dims.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from rl_methods.common import tensors as named
from rl_methods.common.flow_policy import FlowContext, FlowPolicy, integrate
from rl_methods.common.guard import DivergenceError, GradientStep, Guard
from rl_methods.ppo.advantages import generalised_advantages, normalised
from rl_methods.ppo.chains import Chains, Draws, FlowLikelihood, mean_of_played
from rl_methods.ppo.decisions import Decisions, Rated, log_prob_of
from rl_methods.ppo.losses import policy_loss, ratio_metrics, value_loss
from rl_methods.ppo.networks import NoiseNetwork, ValueNetwork
from rl_methods.ppo.settings import Likelihood, PpoSettings

_BETAS, _EPSILON = (0.9, 0.95), 1e-5


class Ppo:
    """Networks, optimisers and one iteration of learning.

    Args:
        policy: The VLA; its action expert is changed in place.
        settings: Everything that is chosen.

    Attributes:
        settings_type: Of its settings.
        iterations: Iterations learnt.
        updates: Gradient steps taken.
        skipped: Gradient steps refused because they were not finite or leapt.

    Raises:
        ValueError: The settings do not fit the policy.
    """

    settings_type: ClassVar[type[PpoSettings]] = PpoSettings

    def __init__(self, policy: FlowPolicy, settings: PpoSettings) -> None:
        horizon = policy.chunk_shape[0]
        if settings.execute_steps > horizon:
            raise ValueError(f"execute_steps is {settings.execute_steps}, allowed: 1 to {horizon}, the chunk's length")
        self.policy, self.settings = policy, settings
        self.critic = ValueNetwork(policy.feature_dim, settings.critic_hidden)
        self.noise = self._noise_network()
        steps = settings.denoise_steps or policy.denoise_steps
        self.likelihood = FlowLikelihood(policy, steps, settings.noise_level, self.noise)
        noise = [] if self.noise is None else list(self.noise.parameters())
        trained = [*policy.parameters().values(), *noise]
        self.actor_optimizer = torch.optim.Adam(trained, settings.actor_learning_rate, _BETAS, _EPSILON)
        self.critic_optimizer = torch.optim.Adam(
            self.critic.parameters(), settings.critic_learning_rate, _BETAS, _EPSILON
        )
        self.guard = Guard()
        self.iterations = self.updates = self.skipped = 0

    def _noise_network(self) -> NoiseNetwork | None:
        s, policy = self.settings, self.policy
        if s.likelihood is not Likelihood.NOISE:
            return None
        return NoiseNetwork(policy.feature_dim, policy.noise_shape, s.least_std, s.most_std)

    # -- acting -------------------------------------------------------------------------------------------------------

    def explore(self, context: FlowContext, seeds: Sequence[Sequence[int]]) -> Chains:
        """Chunks with noise in their chains, each determined by its seed."""
        single = self.settings.single_step
        return self.likelihood.sample(
            context, Draws.of(seeds, self.policy.noise_shape, self.likelihood.steps, single_step=single)
        )

    def act(self, context: FlowContext, seeds: Sequence[Sequence[int]]) -> Tensor:
        """Chunks [B, H, D] as the model is served: by the ODE, from the same starts as `explore`."""
        start = Draws.of(seeds, self.policy.noise_shape, self.likelihood.steps, single_step=True).start
        return integrate(self.policy, context, start, self.policy.denoise_steps)

    # -- learning -----------------------------------------------------------------------------------------------------

    def learn(self, decisions: Decisions, generator: torch.Generator) -> dict[str, float]:
        """One iteration on whole episodes; returns metrics by name.

        Raises:
            ValueError: The decisions cannot be learnt from.
            DivergenceError: Not one gradient step could be taken.
        """
        decisions.check()
        self._fit_scalers(decisions.context.features)
        rated = self.rate(decisions)
        found = [self._update(rated, rows) for rows in self._batches(len(decisions), generator)]
        taken = [metrics for metrics in found if metrics]
        if not taken:
            raise DivergenceError(f"none of {len(found)} gradient steps of iteration {self.iterations} was finite")
        self.iterations += 1
        means = {name: sum(m[name] for m in taken) / len(taken) for name in taken[0]}
        return means | self._summary(rated) | {"skipped": float(self.skipped)}

    @torch.no_grad()
    def rate(self, decisions: Decisions) -> Rated:
        """Likelihoods, values and advantages by policy and critic of now."""
        values = self.critic(decisions.context.features)
        following = self.critic(decisions.next_features) * (~decisions.terminal).float()
        advantages, returns = generalised_advantages(
            decisions.rewards, values, following, decisions.last, self.settings.discount, self.settings.trace
        )
        return Rated(decisions, log_prob_of(decisions), values, normalised(advantages), returns)

    def log_ratio(self, rated: Rated, rows: Tensor) -> tuple[Tensor, Tensor]:
        """[B] log-likelihood of some decisions now minus then, and [B] entropy."""
        decisions = rated.decisions
        density, entropy = self.likelihood.density(decisions.context.rows(rows), decisions.chains.rows(rows))
        executed = decisions.executed[rows]
        return mean_of_played(density, executed) - rated.log_prob[rows], mean_of_played(entropy, executed)

    def _update(self, rated: Rated, rows: Tensor) -> dict[str, float]:
        """One gradient step of actor and critic together; empty where none could be taken."""
        steps = [self._critic_step(rated, rows)]
        metrics: dict[str, float] = {}
        if self.iterations >= self.settings.critic_warm_up:
            step, metrics = self._actor_step(rated, rows)
            steps.append(step)
        try:
            norms = self.guard.take(steps)
        except DivergenceError:
            self.skipped += 1
            return {}
        self.updates += 1
        losses = {f"{step.name}_loss": float(step.loss.detach()) for step in steps}
        return metrics | losses | {f"{name}_gradient": norm for name, norm in norms.items()}

    def _critic_step(self, rated: Rated, rows: Tensor) -> GradientStep:
        s = self.settings
        values = self.critic(rated.decisions.context.features[rows])
        loss = value_loss(values, rated.values[rows], rated.returns[rows], s.value_clip, s.huber)
        return GradientStep("critic", self.critic_optimizer, loss, s.clip_norm)

    def _actor_step(self, rated: Rated, rows: Tensor) -> tuple[GradientStep, dict[str, float]]:
        s = self.settings
        log_ratio, entropy = self.log_ratio(rated, rows)
        loss = policy_loss(log_ratio, rated.advantages[rows], s.clip, s.dual_clip)
        if self.noise is not None:
            loss = loss - s.entropy_weight * entropy.mean()
        metrics = ratio_metrics(log_ratio, s.clip) | {"entropy": float(entropy.detach().mean())}
        return GradientStep("actor", self.actor_optimizer, loss, s.clip_norm), metrics

    def _batches(self, count: int, generator: torch.Generator) -> Iterator[Tensor]:
        for _ in range(self.settings.epochs):
            yield from torch.randperm(count, generator=generator).split(self.settings.batch)

    def _fit_scalers(self, features: Tensor) -> None:
        """Once, on what is seen first; the learnt noise depends on no feature until it has learnt."""
        for network in (self.critic, self.noise):
            if network is not None and len(features) > 1 and not bool(network.scaler.fitted):
                network.scaler.fit(features)

    @staticmethod
    def _summary(rated: Rated) -> dict[str, float]:
        spread = float(rated.returns.var(correction=0))
        error = float((rated.returns - rated.values).var(correction=0))
        explained = 1.0 - error / spread if spread > 1e-12 else 0.0
        return {"value": float(rated.values.mean()), "return": float(rated.returns.mean()), "explained": explained}

    # -- state --------------------------------------------------------------------------------------------------------

    def modules(self) -> dict[str, nn.Module]:
        """The small networks."""
        return {"critic": self.critic} | ({} if self.noise is None else {"noise": self.noise})

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Everything with moments."""
        return {"actor_optimizer": self.actor_optimizer, "critic_optimizer": self.critic_optimizer}

    def state(self) -> dict[str, Tensor]:
        """Everything that learning changes, the action expert included."""
        counts = {name: torch.tensor(getattr(self, name)) for name in ("iterations", "updates", "skipped")}
        expert = {f"expert/{name}": value.detach().clone() for name, value in self.policy.parameters().items()}
        guard = {f"guard/{name}": value for name, value in self.guard.state().items()}
        return counts | expert | guard | named.state_of(self.modules(), self.optimizers())

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave.

        Raises:
            CheckpointError: It is of another model or other settings.
        """
        expert = dict(self.policy.parameters())
        found = named.part(tensors, "expert")
        named.check_tensors(found, expert, "action expert")
        named.restore(tensors, self.modules(), self.optimizers())
        with torch.no_grad():
            for name, parameter in expert.items():
                parameter.copy_(found[name])
        self.guard.restore(named.part(tensors, "guard"))
        self.iterations, self.updates, self.skipped = (
            int(tensors[name]) for name in ("iterations", "updates", "skipped")
        )
