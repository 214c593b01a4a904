# SPDX-License-Identifier: Apache-2.0
"""Around a backend: seeded noise, and nothing that is not finite or of another shape gets out.

Legend: N candidates, H chunk length, A action dims, D noise dims.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from rl_methods.common.noise import gaussian
from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.protocol import Backend, FloatArray, PolicySpec
from whetstone_common.core.contract import CARTESIAN_ACTIONS, CARTESIAN_PROPRIO, Contract

_READ_BYTES = 1 << 20
_WEIGHT_FILES = ("*.safetensors", "*.onnx", "*.onnx.data")


class ModelError(RuntimeError):
    """The model returned something that must not be played."""


def draw_noise(n: int, spec: PolicySpec, seed: int, sequence: int) -> FloatArray:
    """Gaussian noise [N, H, D] that only seed and sequence determine; the first rows do not depend on N."""
    return gaussian((n, *spec.noise_shape), seed, sequence)


def merge_noise(steered: FloatArray, gaussian: FloatArray) -> FloatArray:
    """Noise [N, H, D] from steered [N, H, A]; models that pad their actions keep Gaussian noise in the padding."""
    merged = gaussian.copy()
    merged[:, :, : steered.shape[2]] = steered
    return merged


def checked_features(backend: Backend, context: Any) -> FloatArray:
    """Features [F] of a context.

    Raises:
        ModelError: Wrong shape or not finite.
    """
    return _checked("features", backend.features(context), (backend.spec.feature_dim,))


def checked_chunks(backend: Backend, context: Any, noise: FloatArray, old: ChunkPrefix | None = None) -> FloatArray:
    """N noises [N, H, D] to N chunks [N, H, A].

    Raises:
        ModelError: Wrong shape or not finite.
    """
    return check_chunks(backend, backend.denoise(context, noise, old), len(noise))


def check_chunks(backend: Backend, chunks: FloatArray, count: int) -> FloatArray:
    """Chunks as they are, if they are float32 [count, H, A].

    Raises:
        ModelError: Wrong shape or not finite.
    """
    return _checked("chunks", chunks, (count, *backend.spec.chunk_shape))


def _checked(what: str, values: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    if values.shape != shape:
        raise ModelError(f"{what} have shape {values.shape}, expected {shape}")
    if not np.isfinite(values).all():
        raise ModelError(f"{what} are not finite")
    return values


def contract_of(spec: PolicySpec, joint_names: tuple[str, ...], weights_sha256: str) -> Contract:
    """The contract of a policy on a robot.

    Args:
        spec: The policy.
        joint_names: Arm joints, then the gripper.
        weights_sha256: Of the weights, empty for none.

    Raises:
        ValueError: Policy and robot do not fit; the text names the field.
    """
    is_cartesian = spec.action_space == "cartesian"
    if spec.joint_names and not is_cartesian and spec.joint_names != joint_names:
        raise ValueError(f"joint_names: the policy is mapped to {spec.joint_names}, the robot has {joint_names}")
    actions = CARTESIAN_ACTIONS if is_cartesian else joint_names
    proprio = CARTESIAN_PROPRIO if is_cartesian else joint_names
    if spec.action_dim != len(actions):
        raise ValueError(f"action_dim: the policy has {spec.action_dim}, {spec.action_space} means {len(actions)}")
    if spec.proprio_dim != len(proprio):
        raise ValueError(f"proprio_dim: the policy has {spec.proprio_dim}, {spec.action_space} means {len(proprio)}")
    return Contract(
        action_space=spec.action_space,
        action_names=actions,
        action_scale=spec.action_scale,
        action_offset=spec.action_offset,
        proprio_names=proprio,
        cameras=spec.cameras,
        image_height=spec.image_height_px,
        image_width=spec.image_width_px,
        horizon=spec.horizon,
        feature_dim=spec.feature_dim,
        dt_s=spec.dt_s,
        joint_names=joint_names,
        readout_names=spec.readout_names,
        feature_version=spec.feature_version,
        model_id=spec.model_id,
        weights_sha256=weights_sha256,
    )


def weights_sha256(directory: Path) -> str:
    """SHA-256 (hex) over the weight files of a model directory, ordered by name; empty when there are none."""
    files = sorted({file for pattern in _WEIGHT_FILES for file in directory.glob(pattern)})
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_READ_BYTES):
                digest.update(block)
    return digest.hexdigest() if files else ""


def version_of(sha256: str) -> int:
    """A number that stands for the weights in messages; 0 for none."""
    return int(sha256[:15], 16) if sha256 else 0
