# SPDX-License-Identifier: Apache-2.0
"""Whether a model may take the place of another while it is served: same meaning, same features, and it works.

Legend: N candidates, H horizon, A action dims, F feature dims.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_policy.core.files import read_manifest
from vla_policy.core.protocol import Backend, FloatArray, Observation, PolicySpec
from vla_policy.core.serving import checked_chunks, checked_features, draw_noise, weights_sha256
from whetstone_common.core.contract import Contract

# Two ways to compute the same features, or another batch of threads, differ by less; other eyes by far more.
_FEATURE_TOLERANCE = 1e-3
_PROBE_CHUNKS = 2


class ModelRefusedError(ValueError):
    """A model that must not be served in place of the present one; the text says why."""


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that was tried.

    Attributes:
        backend: It.
        contract: What it means by its numbers, with the hash of its weights.
        features: float32 [F] of the probe observation.
        directory: Where it comes from, empty for a fake one.
    """

    backend: Backend
    contract: Contract
    features: FloatArray
    directory: str = ""


def probe_observation(spec: PolicySpec) -> Observation:
    """The same for every model of that specification, and no flat image, which says nothing of the eyes."""
    rng = np.random.default_rng(0)
    size = (spec.image_height_px, spec.image_width_px, 3)
    images = {name: rng.integers(0, 256, size, dtype=np.uint8) for name in spec.cameras}
    words = spec.instructions[0] if spec.instructions else "do nothing"
    return Observation(images, np.zeros(spec.proprio_dim, np.float32), words)


def tried(backend: Backend, observation: Observation) -> FloatArray:
    """Features [F] of an observation, after chunks were drawn from it too.

    Raises:
        ModelError: Something is not finite, or of another shape.
    """
    context = backend.prefix(observation)
    features = checked_features(backend, context)
    # Where noise says nothing, a second chunk is a second request.
    count = _PROBE_CHUNKS if backend.spec.takes_noise else 1
    checked_chunks(backend, context, draw_noise(count, backend.spec, 0, 0))
    return features


def check_directory(directory: Path, sha256: str) -> None:
    """Refuse a directory that is not sealed, or not the one that is meant.

    Raises:
        CheckpointError: It has no manifest, or a file of it was altered.
        ModelRefusedError: Its weights are others.
    """
    read_manifest(directory)
    found = weights_sha256(directory)
    if found != sha256:
        raise ModelRefusedError(f"{directory} holds weights {found[:12] or 'none'}, asked for were {sha256[:12]}")


def replacement(
    served: ServedModel,
    directory: Path,
    sha256: str,
    load: Callable[[Path], Backend],
    contract: Callable[[PolicySpec, str], Contract],
) -> ServedModel:
    """The model of a directory, loaded beside the served one and tried.

    Args:
        served: What serves now.
        directory: Sealed model directory.
        sha256: Of its weights.
        load: Builds a backend of it.
        contract: Contract of a specification and a hash.

    Raises:
        ModelRefusedError: It means other things by its numbers, or its features are others; the text names them.
        CheckpointError: The directory is not sealed.
        ModelError: It misbehaves on trial.
    """
    check_directory(directory, sha256)
    backend = load(directory)
    new = contract(backend.spec, sha256)
    differences = served.contract.differences(new)
    if backend.spec.noise_dim != served.backend.spec.noise_dim:
        differences.append(f"noise_dim: {served.backend.spec.noise_dim} here, {backend.spec.noise_dim} there")
    if differences:
        raise ModelRefusedError("; ".join(differences))
    backend.warmup()
    # The words of the served model, so that the two see the same.
    features = tried(backend, probe_observation(served.backend.spec))
    difference = float(np.abs(features - served.features).max())
    if difference > _FEATURE_TOLERANCE:
        raise ModelRefusedError(
            f"features: those of one observation differ by {difference:.3g}; small policies and stored transitions of "
            "the served model would mean nothing to this one: start a new run with it"
        )
    return ServedModel(backend, new, features, str(directory))
