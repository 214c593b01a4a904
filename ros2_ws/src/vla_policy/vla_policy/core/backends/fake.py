# SPDX-License-Identifier: Apache-2.0
"""A backend that does as it is told: for tests, and as the null model of the serving benchmark."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.protocol import BackendError, FloatArray, Observation, ObservationError, PolicySpec

FAULTS = ("none", "raise_prefix", "raise_denoise", "nan", "inf", "wrong_dims", "wrong_horizon")
PATTERNS = ("constant", "sine", "noise")


@dataclass(frozen=True)
class FakeScript:
    """What the fake does.

    Attributes:
        pattern: `constant` (each dim = value), `sine` (amplitude = value, one period per chunk), `noise` (echo).
        value: level or amplitude, normalised units.
        prefix_delay_s: how long `prefix` blocks.
        denoise_delay_s: how long `denoise` blocks.
        fault: one of FAULTS.
        fault_after: number of good calls of `denoise` (or `prefix`) before the fault shows.
        max_words: longer instructions are refused, 0 for none.
    """

    pattern: str = "constant"
    value: float = 0.0
    prefix_delay_s: float = 0.0
    denoise_delay_s: float = 0.0
    fault: str = "none"
    fault_after: int = 0
    max_words: int = 0

    def __post_init__(self) -> None:
        """Refuses words it does not know."""
        if self.pattern not in PATTERNS:
            raise ValueError(f"pattern is {self.pattern!r}, allowed: {PATTERNS}")
        if self.fault not in FAULTS:
            raise ValueError(f"fault is {self.fault!r}, allowed: {FAULTS}")


def fake_spec(
    *,
    cameras: tuple[str, ...] = ("front", "wrist"),
    image_size_px: int = 96,
    horizon: int = 16,
    action_dim: int = 7,
    proprio_dim: int = 10,
    feature_dim: int = 74,
    action_space: str = "cartesian",
) -> PolicySpec:
    """A specification shaped like the pocket VLA's, with unit normalisation."""
    return PolicySpec(
        model_id="fake",
        cameras=cameras,
        image_height_px=image_size_px,
        image_width_px=image_size_px,
        proprio_dim=proprio_dim,
        horizon=horizon,
        action_dim=action_dim,
        noise_dim=action_dim,
        dt_s=0.05,
        action_space=action_space,
        action_scale=(1.0,) * action_dim,
        action_offset=(0.0,) * action_dim,
        feature_dim=feature_dim,
    )


class FakeBackend:
    """Scripted policy; `script` may be replaced between calls."""

    def __init__(self, spec: PolicySpec | None = None, script: FakeScript | None = None) -> None:
        """Starts with a pocket-like spec and a script that holds still."""
        self._spec = spec or fake_spec()
        self.script = script or FakeScript()
        self.prefix_calls = 0
        self.denoise_calls = 0

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> FakeBackend:
        """Splits flat options into those of the spec and those of the script."""
        names = {f.name for f in fields(FakeScript)}
        script = FakeScript(**{k: v for k, v in options.items() if k in names})
        return cls(fake_spec(**{k: v for k, v in options.items() if k not in names}), script)

    @property
    def spec(self) -> PolicySpec:
        """What this policy takes and gives."""
        return self._spec

    def told(self, **changes: Any) -> None:
        """Changes the script and counts calls from zero again."""
        self.script = replace(self.script, **changes)
        self.prefix_calls = self.denoise_calls = 0

    def warmup(self) -> None:
        """Nothing to warm."""

    def check_instruction(self, words: str) -> None:
        """See `Backend.check_instruction`."""
        count = len(words.split())
        if 0 < self.script.max_words < count:
            raise ObservationError(f"instruction has {count} words, at most {self.script.max_words}")

    def prefix(self, observation: Observation) -> Observation:
        """Checks and returns the observation itself."""
        return self.prefix_batch([observation])[0]

    def prefix_batch(self, observations: Sequence[Observation]) -> list[Observation]:
        """As `prefix`; several take as long as one."""
        self.prefix_calls += 1
        for observation in observations:
            self._spec.check(observation)
            self.check_instruction(observation.instruction)
        time.sleep(self.script.prefix_delay_s)
        if self.script.fault == "raise_prefix" and self.prefix_calls > self.script.fault_after:
            raise BackendError("the fake was told to raise in prefix")
        return list(observations)

    def features(self, context: Observation) -> FloatArray:
        """Proprioception, then zeros up to the promised length."""
        out = np.zeros(self._spec.feature_dim, dtype=np.float32)
        count = min(self._spec.feature_dim, context.proprio.size)
        out[:count] = context.proprio[:count]
        return out

    def denoise(self, context: Observation, noise: FloatArray, old: ChunkPrefix | None = None) -> FloatArray:
        """N scripted chunks, spoiled as told; drawn to what is left of the old one."""
        return self.denoise_batch([context], [noise], [] if old is None else [old])[0]

    def denoise_batch(
        self, contexts: Sequence[Observation], noises: Sequence[FloatArray], olds: Sequence[ChunkPrefix] = ()
    ) -> list[FloatArray]:
        """As `denoise`; several take as long as one."""
        self.denoise_calls += 1
        for noise in noises:
            self._spec.check_noise(noise)
        time.sleep(self.script.denoise_delay_s)
        pulled: Sequence[ChunkPrefix | None] = olds or [None] * len(noises)
        return [self._chunks(noise, old) for noise, old in zip(noises, pulled, strict=True)]

    def _chunks(self, noise: FloatArray, old: ChunkPrefix | None) -> FloatArray:
        chunks = self._pattern(noise)
        if old is not None:
            target, weight = old.padded(*self._spec.chunk_shape)
            chunks = (chunks + weight * (target - chunks)).astype(np.float32)
        if self.denoise_calls > self.script.fault_after:
            chunks = self._spoil(chunks)
        return chunks

    def _pattern(self, noise: FloatArray) -> FloatArray:
        count, (horizon, dims) = noise.shape[0], self._spec.chunk_shape
        if self.script.pattern == "noise":
            return np.ascontiguousarray(noise[:, :, :dims], dtype=np.float32)
        chunks = np.full((count, horizon, dims), self.script.value, dtype=np.float32)
        if self.script.pattern == "sine":
            phase = np.arange(horizon, dtype=np.float32) * np.float32(2.0 * np.pi / horizon)
            chunks *= np.sin(phase)[None, :, None]
        return chunks

    def _spoil(self, chunks: FloatArray) -> FloatArray:
        fault = self.script.fault
        if fault == "raise_denoise":
            raise BackendError("the fake was told to raise in denoise")
        if fault == "nan":
            chunks[0, 0, 0] = np.nan
        if fault == "inf":
            chunks[0, 0, 0] = np.inf
        if fault == "wrong_dims":
            return np.ascontiguousarray(chunks[:, :, :-1])
        if fault == "wrong_horizon":
            return np.ascontiguousarray(chunks[:, :-1])
        return chunks
