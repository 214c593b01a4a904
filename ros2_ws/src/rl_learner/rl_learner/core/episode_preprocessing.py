# SPDX-License-Identifier: Apache-2.0
"""A recorded episode as a policy would have seen it, and what was done in the policy's units.

Legend: T frames, J joints of the arm, H horizon, A action dims.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experience.core.actions import policy_actions
from experience.core.dataset import DatasetEpisode, DatasetError
from experience.core.records import Doubles, Floats
from experience.core.windows import window_rows
from vla_policy.core.images import fit
from vla_policy.core.joints import proprioception
from vla_policy.core.protocol import Observation, PolicySpec
from vla_policy.core.serving import contract_of
from whetstone_common.core.joint_range import JointRange, names_problem
from whetstone_common.core.kinematics import Kinematics, Pose

_FPS_TOLERANCE = 0.01
_UNIT_TOLERANCE = 0.01  # of the length of a quaternion
_FARTHEST_M = 10.0  # no arm on a table is sent further; millimetres are
_CONVERT = "; give other units, names or orders in a mapping file (--mapping, docs/how-to/use-a-dataset.md)"


class EpisodePreprocessor:
    """Sees recorded episodes with the eyes of a policy.

    Args:
        spec: Of the policy.
        kinematics: Of the arm.
        joint_names: Of the arm, then of the gripper.
        crop: How an image of another shape is made to fit, as observation_node's parameter.
        joint_range: Which values the joints can have; None checks none.
    """

    def __init__(
        self,
        spec: PolicySpec,
        kinematics: Kinematics,
        joint_names: Sequence[str],
        crop: str = "center",
        joint_range: JointRange | None = None,
    ) -> None:
        self.spec, self._kinematics, self._crop, self._range = spec, kinematics, crop, joint_range
        self.contract = contract_of(spec, tuple(joint_names), "")

    def check(self, fps: float, cameras: Sequence[str]) -> None:
        """Refuse a dataset that this policy cannot look at.

        Raises:
            DatasetError: The text says what differs.
        """
        if missing := [name for name in self.spec.cameras if name not in cameras]:
            raise DatasetError(f"the policy looks through {missing}, the dataset has {sorted(cameras)}")
        if abs(fps * self.spec.dt_s - 1.0) > _FPS_TOLERANCE:
            raise DatasetError(f"the dataset has {fps:g} frames per second, the policy {1.0 / self.spec.dt_s:g}")

    def check_names(self, column: str, names: Sequence[str]) -> None:
        """Refuse joints that are not the robot's, in its order.

        Args:
            column: Of the dataset.
            names: Of the numbers in that column.

        Raises:
            DatasetError: Naming both.
        """
        if problem := names_problem(names, self.contract.joint_names):
            raise DatasetError(f"{column} holds {problem}{_CONVERT}")

    def check_numbers(self, recorded: DatasetEpisode, number: int) -> None:
        """Refuse an episode of another arm or unit, or one that was not recorded well.

        Raises:
            DatasetError: Naming the episode of that number, frame, joint, value and limits.
        """
        for name, values in (("observation.state", recorded.states), ("action", recorded.actions)):
            self._check_joints(values, f"episode {number}", name)
        if recorded.targets is not None:
            _check_targets(recorded.targets, f"episode {number}")

    def _check_joints(self, values: Doubles, episode: str, name: str) -> None:
        names = self.contract.joint_names
        if values.shape[1:] != (len(names),):
            raise DatasetError(f"{episode}: {name} has {values.shape[1:]} numbers, the robot {len(names)}")
        if not np.isfinite(values).all():
            frame, joint = np.argwhere(~np.isfinite(values))[0]
            raise DatasetError(f"{episode}: {name} is not finite: {names[joint]} at frame {frame}")
        if self._range is not None and (found := self._range.first_outside(values)):
            raise DatasetError(f"{episode}, frame {found.frame}: {name} of {found}{_CONVERT}")

    def observation(self, recorded: DatasetEpisode, frame: int) -> Observation:
        """What the policy would have been shown."""
        size = (self.spec.image_height_px, self.spec.image_width_px)
        images = {name: fit(recorded.images[name][frame], *size, crop=self._crop) for name in self.spec.cameras}
        return Observation(images, self.proprio(recorded, frame), recorded.instruction)

    def proprio(self, recorded: DatasetEpisode, frame: int) -> Floats:
        """[P] what the policy would have felt, raw units."""
        state = recorded.states[frame]
        return proprioception(self.spec.action_space, state, self._kinematics.fk(state[:-1]))

    def reference(self, recorded: DatasetEpisode, frame: int) -> Doubles:
        """What a chunk from that frame on is relative to, as `Decision.reference`."""
        arm = recorded.states[frame, :-1]
        return _numbers(self._kinematics.fk(arm)) if self.spec.action_space == "cartesian" else arm

    def targets(self, recorded: DatasetEpisode) -> Doubles:
        """[T, 7] where the TCP was sent, as the dataset says or as the joints were commanded."""
        if recorded.targets is not None:
            return recorded.targets
        return np.stack([_numbers(self._kinematics.fk(action[:-1])) for action in recorded.actions])

    def chunk(self, recorded: DatasetEpisode, targets: Doubles, frame: int) -> Floats:
        """[H, A] normalised, what was done from a frame on; the last command is repeated past the end."""
        rows = window_rows(frame, self.spec.horizon, len(recorded))
        return policy_actions(self.contract, self.reference(recorded, frame), targets[rows], recorded.actions[rows])


def _check_targets(targets: Doubles, episode: str) -> None:
    if not np.isfinite(targets).all():
        frame = int(np.argwhere(~np.isfinite(targets))[0, 0])
        raise DatasetError(f"{episode}: action.tcp_target is not finite at frame {frame}")
    length = np.linalg.norm(targets[:, 3:], axis=1)
    if (wrong := np.flatnonzero(np.abs(length - 1.0) > _UNIT_TOLERANCE)).size:
        frame = wrong[0]
        raise DatasetError(
            f"{episode}, frame {frame}: the quaternion of action.tcp_target has length {length[frame]:.4g}, expected 1"
        )
    far = np.linalg.norm(targets[:, :3], axis=1)
    if (wrong := np.flatnonzero(far > _FARTHEST_M)).size:
        frame = wrong[0]
        raise DatasetError(
            f"{episode}, frame {frame}: action.tcp_target is {far[frame]:.4g} m from the base, expected metres, "
            f"at most {_FARTHEST_M:g}"
        )


def _numbers(pose: Pose) -> Doubles:
    return np.concatenate([pose.position, pose.quaternion_xyzw()])
