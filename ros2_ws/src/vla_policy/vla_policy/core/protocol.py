# SPDX-License-Identifier: Apache-2.0
"""The seam between a vision-language-action model and everything that serves it.

Legend: N candidates, H chunk length, A action dims, P proprioception dims, F feature dims, (Hi, Wi) image size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whetstone_common.core.contract import ACTION_SPACES
from whetstone_common.core.reason import Reason, ReasonedError

if TYPE_CHECKING:
    from vla_policy.core.chunk_prefix import ChunkPrefix

FloatArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]


class ObservationError(ValueError):
    """An observation that does not fit the policy that is asked to look at it."""


class BackendError(RuntimeError):
    """A backend could not load, or could not produce a finite chunk of the promised shape."""


class UnavailableError(ReasonedError):
    """A backend that cannot be asked now, and may answer again by itself: the connection to its server is lost."""


@dataclass(frozen=True)
class Observation:
    """What the policy sees at one tick.

    Attributes:
        images: camera name -> uint8 RGB [Hi, Wi, 3], already cropped and resized to the policy's size.
        proprio: float32 [P], raw units (see `PolicySpec`).
        instruction: what to do, in words.
    """

    images: Mapping[str, ImageArray]
    proprio: FloatArray
    instruction: str

    def __post_init__(self) -> None:
        """Freezes the mapping as well as the fields."""
        object.__setattr__(self, "images", MappingProxyType(dict(self.images)))


@dataclass(frozen=True)
class PolicySpec:
    """Everything a consumer must agree on before it may use a policy's chunks.

    Attributes:
        model_id: name and version of the weights, for traces and reports.
        cameras: camera names in the order the model wants them.
        image_height_px: rows of each image.
        image_width_px: columns of each image.
        proprio_dim: P.
        horizon: H, steps in a chunk.
        action_dim: A, dims of one step as executed.
        noise_dim: dims of one noise step (equals A except for models that pad their actions).
        dt_s: seconds between two steps.
        action_space: `cartesian` or `joint`; both relative to the state at the observation, gripper absolute.
        action_scale: [A], physical = normalised * scale + offset.
        action_offset: [A].
        feature_dim: F, 0 for a policy without features.
        readout_names: of the last features, what the policy's own eyes read; empty for a policy without.
        takes_noise: whether a chunk follows from the noise that `denoise` is given.
        feature_version: which training the features come from; empty for those that the model was made with.
        instructions: instructions the model was trained on; empty when it takes any text.
        joint_names: joints that the actions are for, in order; empty where the model does not name them.
    """

    model_id: str
    cameras: tuple[str, ...]
    image_height_px: int
    image_width_px: int
    proprio_dim: int
    horizon: int
    action_dim: int
    noise_dim: int
    dt_s: float
    action_space: str
    action_scale: tuple[float, ...]
    action_offset: tuple[float, ...]
    feature_dim: int
    instructions: tuple[str, ...] = field(default=())
    joint_names: tuple[str, ...] = field(default=())
    readout_names: tuple[str, ...] = field(default=())
    takes_noise: bool = True
    feature_version: str = ""

    def __post_init__(self) -> None:
        """Refuses a specification that contradicts itself."""
        if self.action_space not in ACTION_SPACES:
            raise ValueError(f"action_space is {self.action_space!r}, allowed: {ACTION_SPACES}")
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"cameras must be distinct and at least one, got {self.cameras}")
        for name in ("image_height_px", "image_width_px", "proprio_dim", "horizon", "action_dim", "feature_dim"):
            least = 0 if name == "feature_dim" else 1
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {least}")
        if self.noise_dim < self.action_dim:
            raise ValueError(f"noise_dim {self.noise_dim} is smaller than action_dim {self.action_dim}")
        if not np.isfinite(self.dt_s) or self.dt_s <= 0.0:
            raise ValueError(f"dt_s is {self.dt_s}, must be finite and positive")
        self._check_normalisation()

    def _check_normalisation(self) -> None:
        scale, offset = np.asarray(self.action_scale), np.asarray(self.action_offset)
        if scale.shape != (self.action_dim,) or offset.shape != (self.action_dim,):
            raise ValueError(f"action_scale and action_offset must have {self.action_dim} entries")
        if not (np.isfinite(scale).all() and np.isfinite(offset).all() and (scale > 0.0).all()):
            raise ValueError("action_scale must be finite and positive, action_offset finite")

    @property
    def noise_shape(self) -> tuple[int, int]:
        """Shape of one noise, [H, noise_dim]."""
        return (self.horizon, self.noise_dim)

    @property
    def chunk_shape(self) -> tuple[int, int]:
        """Shape of one chunk, [H, A]."""
        return (self.horizon, self.action_dim)

    def contract_hash(self) -> str:
        """SHA-256 over every field: two sides with equal hashes mean the same thing by the same numbers."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def denormalise(self, chunks: FloatArray) -> FloatArray:
        """Normalised [..., A] -> physical units [..., A]."""
        scale = np.asarray(self.action_scale, dtype=np.float32)
        return np.asarray(chunks * scale + np.asarray(self.action_offset, dtype=np.float32), dtype=np.float32)

    def normalise(self, actions: FloatArray) -> FloatArray:
        """Physical units [..., A] -> normalised [..., A]."""
        offset = np.asarray(self.action_offset, dtype=np.float32)
        return np.asarray((actions - offset) / np.asarray(self.action_scale, dtype=np.float32), dtype=np.float32)

    def check(self, observation: Observation) -> None:
        """Raises ObservationError unless `observation` is one this policy can look at."""
        for camera in self.cameras:
            image = observation.images.get(camera)
            if image is None:
                raise ObservationError(f"camera {camera!r} is missing, got {sorted(observation.images)}")
            wanted = (self.image_height_px, self.image_width_px, 3)
            if image.shape != wanted or image.dtype != np.uint8:
                raise ObservationError(f"camera {camera!r} is {image.dtype}{image.shape}, wanted uint8{wanted}")
        if observation.proprio.shape != (self.proprio_dim,):
            raise ObservationError(f"proprio has shape {observation.proprio.shape}, wanted ({self.proprio_dim},)")
        if not np.isfinite(observation.proprio).all():
            raise ObservationError("proprio is not finite")

    def check_noise(self, noise: FloatArray) -> None:
        """Raises ObservationError unless `noise` is finite [N, H, noise_dim] with N >= 1."""
        if noise.ndim != 3 or noise.shape[0] < 1 or noise.shape[1:] != self.noise_shape:
            raise ObservationError(f"noise has shape {noise.shape}, wanted (N, {self.horizon}, {self.noise_dim})")
        if not np.isfinite(noise).all():
            raise ObservationError("noise is not finite")


class Backend(Protocol):
    """A VLA: one prefix pass per observation, any number of chunks from it; see `BatchBackend` for several at once."""

    @property
    def spec(self) -> PolicySpec:
        """What this policy takes and gives."""
        ...

    def warmup(self) -> None:
        """Runs every path once, so that the first request is as fast as the others."""
        ...

    def check_instruction(self, words: str) -> None:
        """Raises ObservationError for words that would not reach the model whole."""
        ...

    def prefix(self, observation: Observation) -> Any:
        """Encodes images, words and proprioception; the result is opaque and belongs to this backend."""
        ...

    def features(self, context: Any) -> FloatArray:
        """Compact state for small networks: float32 [F] (RL token, normalised proprioception, readouts)."""
        ...

    def denoise(self, context: Any, noise: FloatArray, old: ChunkPrefix | None = None) -> FloatArray:
        """Turns N noises into N chunks as one batch.

        Args:
            context: what `prefix` returned.
            noise: float32 [N, H, noise_dim], standard normal unless steered.
            old: what is left of the chunk that plays, for real-time chunking.

        Returns:
            float32 [N, H, A], normalised actions.
        """
        ...


@runtime_checkable
class ServerBackend(Protocol):
    """What a backend has besides when its model runs behind somebody else's server."""

    def outage(self) -> tuple[Reason, str] | None:
        """Why the server cannot be asked now, None while it can."""
        ...

    def figures(self) -> Mapping[str, object]:
        """What diagnostics show of the server."""
        ...

    def close(self) -> None:
        """Leaves the server."""
        ...


@runtime_checkable
class BatchBackend(Protocol):
    """What a backend has besides when it can look at several observations in one pass."""

    def prefix_batch(self, observations: Sequence[Observation]) -> list[Any]:
        """`Backend.prefix` of several observations; raises what it would for any of them."""
        ...

    def denoise_batch(
        self, contexts: Sequence[Any], noises: Sequence[FloatArray], olds: Sequence[ChunkPrefix] = ()
    ) -> list[FloatArray]:
        """`Backend.denoise` of several contexts.

        Args:
            contexts: of B observations.
            noises: B of float32 [N, H, noise_dim], all with the same N.
            olds: what is left of the chunk that plays, B with the same beta; empty where none plays.

        Returns:
            B of float32 [N, H, A].
        """
        ...
