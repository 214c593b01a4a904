# SPDX-License-Identifier: Apache-2.0
"""Settings of PPO on a flow policy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

_COUNTS = {"epochs": 1, "batch": 2, "episodes": 1, "execute_steps": 1, "denoise_steps": 0, "critic_warm_up": 0}
# Range of each real number: lowest, highest, whether the lowest is allowed itself.
_RANGES = {
    "noise_level": (0.0, 5.0, False),
    "least_std": (0.0, 5.0, False),
    "most_std": (0.0, 5.0, False),
    "discount": (0.0, 1.0, False),
    "trace": (0.0, 1.0, True),
    "clip": (0.0, 1.0, False),
    "value_clip": (0.0, 100.0, False),
    "dual_clip": (1.0, 100.0, False),
    "huber": (0.0, 1000.0, False),
    "entropy_weight": (0.0, 10.0, True),
    "actor_learning_rate": (0.0, 1.0, False),
    "critic_learning_rate": (0.0, 1.0, False),
    "clip_norm": (0.0, 1000.0, False),
}


class Likelihood(str, Enum):  # noqa: UP042 - StrEnum came with Python 3.11
    """Where the noise in the denoising chain comes from."""

    SDE = "sde"
    NOISE = "noise"


@dataclass(frozen=True)
class PpoSettings:
    """Everything that is chosen; defaults are those of piRL's tables 11 to 13 unless said otherwise.

    Attributes:
        likelihood: `sde`: an SDE with the marginals of the ODE; `noise`: a learnt noise that is left out when served.
        noise_level: a, of the SDE; below 0.3 gradients grow and most ratios are clipped.
        least_std: Least deviation of the learnt noise, normalised actions.
        most_std: Largest deviation of it.
        single_step: Noise in one denoising step per chunk, drawn anew for each, the others are the ODE's; half the
            time for the same result. Else noise in all of them.
        denoise_steps: K, denoising steps while training; 0 for as many as the model is served with.
        execute_steps: C, steps of a chunk that are played before the next decision.
        episodes: Per iteration.
        discount: Per chunk.
        trace: Lambda of generalised advantage estimation.
        bootstrap_timeouts: Whether the value of the last observation counts where the time was up; else a time-out is
            worth as little as a failure, which it is for a policy that must finish.
        epochs: Passes over an iteration's chunks.
        batch: Chunks per gradient step.
        clip: Of the ratio of likelihoods.
        dual_clip: Bound of the ratio where the advantage is negative, as a factor of it.
        value_clip: Largest change of a value in an iteration that is rewarded.
        huber: Error from which on the value loss grows linearly.
        entropy_weight: Of the learnt noise's entropy; the SDE's is fixed.
        actor_learning_rate: Of Adam for the action expert. 5e-6 was found for experts of 300 million parameters.
        critic_learning_rate: Of Adam for the critic.
        clip_norm: Of each gradient.
        critic_warm_up: First iterations in which only the critic learns; without any, success dips first.
        critic_hidden: Widths of the critic.
    """

    likelihood: Likelihood = Likelihood.SDE
    noise_level: float = 0.5
    least_std: float = 0.08
    most_std: float = 0.16
    single_step: bool = True
    denoise_steps: int = 0
    execute_steps: int = 8
    episodes: int = 64
    discount: float = 0.99
    trace: float = 0.95
    bootstrap_timeouts: bool = False
    epochs: int = 4
    batch: int = 128
    clip: float = 0.2
    dual_clip: float = 3.0
    value_clip: float = 0.2
    huber: float = 10.0
    entropy_weight: float = 0.005
    actor_learning_rate: float = 5e-6
    critic_learning_rate: float = 1e-4
    clip_norm: float = 1.0
    critic_warm_up: int = 1
    critic_hidden: tuple[int, ...] = (256, 256, 256)

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        for name, least in _COUNTS.items():
            if not least <= getattr(self, name) <= 1_000_000:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed: {least} to 1000000")
        for name, (lowest, highest, closed) in _RANGES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and lowest <= value <= highest) or (value == lowest and not closed):
                raise ValueError(f"{name} is {value}, allowed: {'[' if closed else '('}{lowest}, {highest}]")
        if not self.least_std <= self.most_std:
            raise ValueError(f"least_std is {self.least_std}, allowed: up to most_std, {self.most_std}")
        if not self.critic_hidden or min(self.critic_hidden) < 1:
            raise ValueError(f"critic_hidden is {self.critic_hidden}, needs positive widths")
