# SPDX-License-Identifier: Apache-2.0
"""An episode that was played in process, and the transitions that transition_node would make of it.

Legend: T control steps, K decisions (queries included), N candidates, H horizon, A action dims, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experience.core.episode import EpisodeRecords as RecordedEpisode
from experience.core.episode import Rules as WindowRules
from experience.core.episode import build
from experience.core.records import Decision, EpisodeEventKind, Event, StepRecord, StepReward, no_bytes
from experience.core.transition import Transition
from rl_methods.base import ChunkSource, FloatArray, ImageArray
from vla_policy.core.stacked_images import encoded
from whetstone_common.core.contract import Contract
from whetstone_common.core.enums import Actor, RequestKind
from whetstone_common.core.stamp import Stamp

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, eq=False)
class PlayedEpisode:
    """One episode; row k is decision k, row t is control step t.

    Attributes:
        features: float32 [K, F].
        candidates: float32 [K, N, H, A] normalised.
        noise: float32 [K, N, H, A].
        chunk: float32 [K, H, A] that was chosen, normalised.
        picked: int32 [K] candidate that it came from.
        source: uint8 [K] `ChunkSource`.
        acted: bool [K], whether it was meant to be played; else it was a query only.
        tick: int32 [K].
        reference: float64 [K, 7] x y z qx qy qz qw that the chunk is relative to.
        actor: uint8 [T] `Actor`.
        decision: int32 [T] row of the decision whose chunk played.
        step: int32 [T] step of that chunk.
        target: float64 [T, 7] commanded pose, after the limits.
        commanded: float64 [T] commanded opening, after the limits.
        seed: int64 [].
        success: bool [].
        proprio: float32 [K, P], physical units; [0, 0] in files of earlier releases.
        images: uint8 RGB [K, cameras, Hi, Wi, 3]; [0] unless the method has an image encoder.
        truth: What only the simulator knows, [K, ...] by name.
    """

    features: FloatArray
    candidates: FloatArray
    noise: FloatArray
    chunk: FloatArray
    picked: NDArray[np.int32]
    source: NDArray[np.uint8]
    acted: NDArray[np.bool_]
    tick: NDArray[np.int32]
    reference: NDArray[np.float64]
    actor: NDArray[np.uint8]
    decision: NDArray[np.int32]
    step: NDArray[np.int32]
    target: NDArray[np.float64]
    commanded: NDArray[np.float64]
    seed: NDArray[np.int64]
    success: NDArray[np.bool_]
    proprio: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    images: ImageArray = field(default_factory=lambda: np.zeros(0, np.uint8))
    truth: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    def __len__(self) -> int:
        """K."""
        return len(self.features)

    @property
    def steps(self) -> int:
        """T."""
        return len(self.actor)

    @property
    def human_steps(self) -> int:
        """Control steps that a human commanded."""
        return int((self.actor == Actor.HUMAN).sum())


_NAMES = tuple(f.name for f in fields(PlayedEpisode) if f.name != "truth")


def save(path: Path, episodes: list[PlayedEpisode]) -> None:
    """Write episodes as plain arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[np.generic]] = {}
    for i, episode in enumerate(episodes):
        arrays |= {f"{i}/{name}": getattr(episode, name) for name in _NAMES}
        arrays |= {f"{i}/truth/{name}": value for name, value in episode.truth.items()}
    np.savez(path, count=np.asarray(len(episodes)), **arrays)  # type: ignore[arg-type]


def load(path: Path) -> list[PlayedEpisode]:
    """Read what `save` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return [_loaded(data, i) for i in range(int(data["count"]))]


def _loaded(data: Mapping[str, NDArray[np.generic]], i: int) -> PlayedEpisode:
    start = f"{i}/truth/"
    truth = {name.removeprefix(start): data[name] for name in data if name.startswith(start)}
    rows: dict[str, NDArray[np.generic]] = {name: data[f"{i}/{name}"] for name in _NAMES if f"{i}/{name}" in data}
    return PlayedEpisode(**rows, truth=truth)  # type: ignore[arg-type]


def transitions_of(
    episode: PlayedEpisode, number: int, contract: Contract, rules: WindowRules, dt_s: float
) -> list[Transition]:
    """What transition_node would make of an episode.

    Args:
        episode: As it was played.
        number: Of the episode within its run.
        contract: What its numbers mean.
        rules: How windows are cut.
        dt_s: Control period [s].
    """
    period_ns = round(dt_s * _NS_PER_S)
    stamps = [Stamp(1, number, k + 1, k + 1, int(tick) * period_ns) for k, tick in enumerate(episode.tick)]
    recorded = RecordedEpisode(epoch=1, number=number, started=True, steps_done=True)
    for k in range(len(episode)):
        recorded.decisions[k + 1] = Decision(
            stamp=stamps[k],
            request_kind=RequestKind.ACT if episode.acted[k] else RequestKind.QUERY_ONLY,
            contract_hash=contract.hash(),
            method="",
            instruction="",
            kind=ChunkSource(int(episode.source[k])),
            chosen=int(episode.picked[k]),
            reference=episode.reference[k],
            features=episode.features[k],
            proprio=episode.proprio[k] if len(episode.proprio) else np.zeros(0, np.float32),
            candidates=episode.candidates[k],
            noise=episode.noise[k],
            chosen_chunk=episode.chunk[k],
            images=encoded(episode.images[k]) if episode.images.size else no_bytes(),
        )
    arm = np.zeros(len(contract.joint_names) - 1)
    for t in range(episode.steps):
        recorded.steps[t] = StepRecord(
            stamp=stamps[int(episode.decision[t])],
            step=int(episode.step[t]),
            episode_step=t,
            time_ns=t * period_ns,
            actor=Actor(int(episode.actor[t])),
            joint_command=np.append(arm, episode.commanded[t]),
            tcp_target=episode.target[t],
        )
    won = bool(episode.success)
    recorded.rewards[episode.steps] = StepReward(1, number, episode.steps, float(won))
    outcome = EpisodeEventKind.SUCCEEDED if won else EpisodeEventKind.TIMED_OUT
    recorded.end = Event(1, number, outcome, "", episode.steps, episode.steps * period_ns)
    return build(recorded, rules, {contract.hash(): contract})[0]
