# SPDX-License-Identifier: Apache-2.0
"""One chunk window, ready for a replay buffer.

Legend: n candidates, H horizon, A action dims, F feature dims, P proprioception dims, C steps of the window.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from experience.core.records import Bytes, Floats, no_bytes


@dataclass(frozen=True, eq=False)
class Transition:
    """As in vla_interfaces/Transition, without what the spool adds (run, spool, seq).

    Attributes:
        epoch: Of the arm.
        episode: Within the epoch.
        request_id: Of the decision that the window starts with.
        request_kind: ACT or QUERY_ONLY.
        episode_step: At the window's start.
        episode_steps: Of the whole episode.
        outcome: Of the episode.
        task: Name of the task.
        instruction: Instruction that the policy followed.
        contract_hash: Contract that the numbers are in.
        method: Who chose.
        rewards: (C,) of each step of the window, not discounted.
        later_rewards: (*,) of the steps after the window until a human next took over, or until the episode ended: what
            a human saves is no merit of the chunks before.
        mask: 0 when the episode ended inside the window, else 1.
        rejected_by_human: A human took the arm from the chosen chunk within the window.
        valid: No episode end before the last step.
        features: (F,) at the window's start.
        proprio: (P,) physical units.
        chosen_chunk: (H, A) normalised, what was sent to the arm.
        actions: (H, A) normalised, as executed.
        actors: (C,) uint8, who acted.
        candidates: (n, H, A) normalised.
        noise: (n, H, A).
        chosen: Index of the chosen candidate, -1 for none.
        kind: Of the chosen chunk.
        next_features: (F,) of the decision at the window's end; (0,) when the mask is 0.
        next_proprio: (P,) or (0,).
        next_candidates: (n', H, A), n' = 0 when the mask is 0.
        next_noise: (n', H, A).
        vla_version: Weights of the VLA.
        policy_version: Weights of the small policies.
        emergency_stop: An e-stop was pressed during the window.
        critical_phase: Of the decision that the window starts with.
        images: PNG (bytes,) at the window's start, cameras one below the other; (0,) without an image encoder.
        next_images: PNG (bytes,) of the decision at the window's end; (0,) when the mask is 0.
    """

    epoch: int
    episode: int
    request_id: int
    request_kind: int
    episode_step: int
    episode_steps: int
    outcome: int
    task: str
    instruction: str
    contract_hash: str
    method: str
    rewards: Floats
    later_rewards: Floats
    mask: float
    rejected_by_human: bool
    valid: bool
    features: Floats
    proprio: Floats
    chosen_chunk: Floats
    actions: Floats
    actors: NDArray[np.uint8]
    candidates: Floats
    noise: Floats
    chosen: int
    kind: int
    next_features: Floats
    next_proprio: Floats
    next_candidates: Floats
    next_noise: Floats
    vla_version: int = 0
    policy_version: int = 0
    emergency_stop: bool = False
    critical_phase: bool = True
    images: Bytes = field(default_factory=no_bytes)
    next_images: Bytes = field(default_factory=no_bytes)

    @property
    def steps(self) -> int:
        """C, executed steps of the window; the critic's bootstrap is discounted by gamma^C."""
        return len(self.actors)
