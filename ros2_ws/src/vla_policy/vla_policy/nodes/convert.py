# SPDX-License-Identifier: Apache-2.0
"""Between messages and the plain data of core/."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from vla_interfaces.msg import ActionChunk, Decision, Features, Noise, Proposal, Request
from vla_interfaces.msg import Observation as ObservationMsg

from rl_methods.base import PolicyInput, PolicyOutput
from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.images import ImageRules, check_compressed, check_raw, compressed_to_rgb, raw_to_rgb
from vla_policy.core.observing import CameraFrame
from vla_policy.core.protocol import Observation, PolicySpec
from vla_policy.core.serving import version_of
from vla_policy.core.stacked_images import Images, encoded, stacked
from whetstone_common.core.cartesian import displaced, displacement
from whetstone_common.core.contract import Contract
from whetstone_common.core.instruction import check_instruction
from whetstone_common.core.kinematics import Pose
from whetstone_common.core.pixels import RGB
from whetstone_common.nodes.convert import bytes_field, float32_field, shaped, to_ns

NO_IMAGES: Images = np.zeros(0, dtype=np.uint8)


def to_frame(msg: Image | CompressedImage, rules: ImageRules) -> CameraFrame:
    """Frame of a driver's message, its header checked and its pixels untouched.

    Raises:
        ImageError: The rules refuse it.
    """
    if isinstance(msg, CompressedImage):
        check_compressed(msg.data, rules)
        return CameraFrame(msg.data, functools.partial(compressed_to_rgb, msg.data, rules))
    header = (msg.height, msg.width, msg.encoding, msg.step, msg.data)
    check_raw(*header, rules)
    return CameraFrame(msg.data, functools.partial(raw_to_rgb, *header, rules))


def to_images(msg: ObservationMsg, contract: Contract) -> Images:
    """uint8 [K, Hi, Wi, 3] of an observation, in the order and of the size of the contract.

    Raises:
        ValueError: An image is missing, cannot be read, or has another size; the text says which.
    """
    images = stacked(_images_of(msg), contract.cameras)
    wanted = (contract.image_height, contract.image_width)
    if images.shape[1:3] != wanted:
        raise ValueError(f"images: {wanted} px here, {images.shape[1:3]} there")
    return images


def from_image(image: NDArray[np.uint8], stamp_ns: int, camera: str, received: Any = None) -> Image:
    """Message of uint8 RGB [H, W, 3].

    Args:
        image: The pixels.
        stamp_ns: Their stamp (ns).
        camera: Whose they are.
        received: Field that the pixels are a view of, if nothing was done to them: it is passed on without a copy.
    """
    height, width, channels = image.shape
    msg = Image(height=height, width=width, encoding=RGB, step=width * channels)
    is_untouched = received is not None and np.may_share_memory(image, np.frombuffer(received, np.uint8))
    msg.data = received if is_untouched and len(received) == image.nbytes else bytes_field(image)
    msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    msg.header.frame_id = camera
    return msg


def to_observation(msg: ObservationMsg) -> Observation:
    """Observation of a message.

    Raises:
        ValueError: Names, sizes or numbers contradict each other.
    """
    images = _images_of(msg)
    if not np.isfinite(np.concatenate([msg.tcp_pose, msg.joint_positions])).all():
        raise ValueError("tcp_pose or joint_positions are not finite")
    instruction = check_instruction(msg.instruction)
    return Observation(images=images, proprio=np.array(msg.proprio, dtype=np.float32), instruction=instruction)


def _images_of(msg: ObservationMsg) -> dict[str, NDArray[np.uint8]]:
    """Camera name -> uint8 RGB [H, W, 3]."""
    if len(msg.cameras) != len(msg.images) or len(set(msg.cameras)) != len(msg.cameras):
        raise ValueError(f"{len(msg.images)} images for cameras {list(msg.cameras)[:8]}")
    rules = ImageRules(min_side_px=1, encodings=(RGB,))
    return {
        name: raw_to_rgb(image.height, image.width, image.encoding, image.step, image.data, rules)
        for name, image in zip(msg.cameras, msg.images, strict=True)
    }


def from_pose(pose: Pose) -> NDArray[np.float64]:
    """[x y z (m), qx qy qz qw] of a pose; the quaternion's largest part is positive."""
    r = pose.rotation
    # The column of this matrix that belongs to the largest diagonal entry is the quaternion times 4 times that
    # part, which is never near zero (Shepperd's method, all four cases at once).
    k = np.array([
        [1 + r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]],
        [r[0, 1] + r[1, 0], 1 - r[0, 0] + r[1, 1] - r[2, 2], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]],
        [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], 1 - r[0, 0] - r[1, 1] + r[2, 2], r[1, 0] - r[0, 1]],
        [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], 1 + r[0, 0] + r[1, 1] + r[2, 2]],
    ])  # fmt: skip
    quaternion = k[int(np.argmax(np.diag(k)))]
    return np.concatenate([pose.position, quaternion / np.linalg.norm(quaternion)])


def to_request_times(msg: Request) -> tuple[int, float]:
    """(not_before in ns, deadline in s) of a request; a deadline that is not a number counts as none."""
    deadline_s = msg.deadline_s if np.isfinite(msg.deadline_s) and msg.deadline_s > 0.0 else 0.0
    return to_ns(msg.not_before), float(deadline_s)


def from_features(
    msg: ObservationMsg, features: NDArray[np.float32], contract_hash: str, *, expected: bool
) -> Features:
    """Message of the features [F] of an observation."""
    return Features(
        stamp=msg.stamp,
        kind=msg.kind,
        features=float32_field(features),
        contract_hash=contract_hash,
        noise_expected=expected,
    )


def to_noise(msg: Noise) -> NDArray[np.float32]:
    """float32 [N, H, A] of a message.

    Raises:
        ValueError: Sizes disagree or a number is not finite.
    """
    noise = shaped(msg.noise, msg.n, msg.horizon, msg.action_dim)
    if not np.isfinite(noise).all():
        raise ValueError("noise is not finite")
    return noise


def to_input(
    msg: Proposal, contract: Contract, images: Images = NO_IMAGES, *, critical_phase: bool = True
) -> PolicyInput:
    """What a method looks at.

    Args:
        msg: The proposal.
        contract: Sizes that it must have.
        images: uint8 [K, Hi, Wi, 3] that it was made of, [0] for none.
        critical_phase: Whether the episode is in its critical phase.

    Raises:
        ValueError: Sizes disagree with the contract; the text names the field.
    """
    for name, wanted in (("horizon", contract.horizon), ("action_dim", contract.action_dim)):
        if getattr(msg, name) != wanted:
            raise ValueError(f"{name}: {wanted} here, {getattr(msg, name)} there")
    for name, wanted in (("features", contract.feature_dim), ("proprio", contract.proprio_dim)):
        if len(getattr(msg, name)) != wanted:
            raise ValueError(f"{name}: {wanted} values here, {len(getattr(msg, name))} there")
    shape = (msg.n, msg.horizon, msg.action_dim)
    return PolicyInput(
        features=shaped(msg.features, contract.feature_dim),
        proprio=shaped(msg.proprio, contract.proprio_dim),
        candidates=shaped(msg.chunks, *shape),
        noise=shaped(msg.noise, *shape),
        noise_steered=msg.noise_steered,
        seed=msg.request.seed,
        sequence=msg.stamp.sequence,
        episode_step=msg.request.episode_step,
        critical_phase=critical_phase,
        images=images,
    )


def _reference(msg: Proposal, contract: Contract) -> list[float]:
    """What the chunks of a proposal are relative to: measured TCP pose or arm joints."""
    return list(msg.tcp_pose) if contract.action_space == "cartesian" else list(msg.joint_positions)[:-1]


def from_output(msg: Proposal, output: PolicyOutput, contract: Contract, identity: Mapping[str, object]) -> ActionChunk:
    """What the arm shall play, in physical units.

    Args:
        msg: The proposal it was chosen from.
        output: What was chosen.
        contract: Scale, names and space.
        identity: Source, epoch, steps and validity.
    """
    scale = np.asarray(contract.action_scale, dtype=np.float32)
    physical = output.chunk * scale + np.asarray(contract.action_offset, dtype=np.float32)
    return ActionChunk(
        stamp=msg.stamp,
        contract_hash=msg.contract_hash,
        space=ActionChunk.CARTESIAN if contract.action_space == "cartesian" else ActionChunk.JOINT,
        action_names=list(contract.action_names),
        reference=_reference(msg, contract),
        dt_s=contract.dt_s,
        horizon=contract.horizon,
        action_dim=contract.action_dim,
        actions=float32_field(physical),
        candidate=output.candidate,
        kind=int(output.source),
        value=output.value,
        policy_version=output.policy_version,
        vla_version=version_of(contract.weights_sha256),
        times=msg.times,
        **identity,
    )


def from_decision(
    msg: Proposal,
    output: PolicyOutput,
    contract: Contract,
    method: str,
    images: Images = NO_IMAGES,
    *,
    critical_phase: bool = True,
) -> Decision:
    """Everything a learner needs of one decision; images [K, Hi, Wi, 3] only where its encoder sees them."""
    return Decision(
        stamp=msg.stamp,
        request_kind=msg.kind,
        contract_hash=msg.contract_hash,
        method=method,
        instruction=msg.instruction,
        kind=int(output.source),
        chosen=output.candidate,
        n=msg.n,
        horizon=msg.horizon,
        action_dim=msg.action_dim,
        reference=_reference(msg, contract),
        features=msg.features,
        proprio=msg.proprio,
        candidates=msg.chunks,
        noise=msg.noise,
        chosen_chunk=float32_field(output.chunk),
        scores=float32_field(output.scores),
        policy_version=output.policy_version,
        vla_version=version_of(contract.weights_sha256),
        critical_phase=critical_phase,
        images=bytes_field(encoded(images) if images.size else images),
    )


def from_noise(msg: Features, noise: NDArray[np.float32], version: int) -> Noise:
    """Message of chosen noise [N, H, A]."""
    n, horizon, action_dim = noise.shape
    return Noise(
        stamp=msg.stamp,
        n=n,
        horizon=horizon,
        action_dim=action_dim,
        noise=float32_field(noise),
        weight_version=version,
    )


def to_chunk_prefix(msg: ObservationMsg, spec: PolicySpec, beta: float) -> ChunkPrefix | None:
    """What is left of the chunk that plays, relative to this observation; None where none plays.

    Raises:
        ValueError: It is not finite, or has another number of dims.
    """
    request = msg.request
    if request.committed_steps == 0:
        return None
    rows = shaped(request.committed, request.committed_steps * spec.action_dim).reshape(-1, spec.action_dim)
    before, now = (Pose.from_quaternion_xyzw(p[:3], p[3:]) for p in (request.committed_reference, msg.tcp_pose))
    moved = [np.append(displacement(now, displaced(before, row)), row[6:]) for row in rows.astype(np.float64)]
    actions = spec.normalise(np.asarray(moved, np.float32))
    return ChunkPrefix(actions, min(request.delay_steps, len(actions)), beta)
