# SPDX-License-Identifier: Apache-2.0
"""Where a point of the robot's base frame is seen in a camera's image.

Legend: K points.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from whetstone_common.core.kinematics import Pose

Array = npt.NDArray[np.float64]
# sensor_msgs/CameraInfo: models that OpenCV's projection takes as they are.
_MODELS = {"plumb_bob", "rational_polynomial", ""}
_NEAREST_M = 0.01


class CalibrationError(ValueError):
    """A calibration that nothing can be drawn with; the text says what is wrong."""


@dataclass(frozen=True, eq=False)
class CameraModel:
    """A pinhole camera with its distortion.

    Attributes:
        width_px: Of the image.
        height_px: Of the image.
        matrix: (3, 3) intrinsics.
        distortion: Coefficients, empty for none.
    """

    width_px: int
    height_px: int
    matrix: Array
    distortion: Array

    @classmethod
    def of_calibration(
        cls, width_px: int, height_px: int, matrix: npt.ArrayLike, distortion: npt.ArrayLike, model: str
    ) -> CameraModel:
        """Camera of the fields of a sensor_msgs/CameraInfo.

        Raises:
            CalibrationError: It is not calibrated, or distorted in a way that is not known.
        """
        intrinsics = np.array(matrix, dtype=np.float64).reshape(3, 3)
        coefficients = np.array(distortion, dtype=np.float64)
        if width_px < 1 or height_px < 1 or not intrinsics[0, 0] > 0.0 or not intrinsics[1, 1] > 0.0:
            raise CalibrationError("its camera_info says no focal length: the driver is not calibrated")
        if not (np.isfinite(intrinsics).all() and np.isfinite(coefficients).all()):
            raise CalibrationError("its camera_info has numbers that are not finite")
        if coefficients.any() and model not in _MODELS:
            known = ", ".join(sorted(filter(None, _MODELS)))
            raise CalibrationError(f"its distortion_model is {model!r}, known are {known}")
        return cls(width_px, height_px, intrinsics, coefficients)

    def project(self, points: Array, optical: Pose) -> Array:
        """(K, 2) px of points (K, 3) m; NaN for what is behind the camera or too near.

        Args:
            points: In any frame.
            optical: Pose of the optical frame (z forward, y down) in that frame.
        """
        seen = (np.asarray(points, dtype=np.float64) - optical.position) @ optical.rotation
        pixels = np.full((len(seen), 2), np.nan)
        ahead = seen[:, 2] > _NEAREST_M
        if ahead.any():
            still = np.zeros(3)
            coefficients = self.distortion if self.distortion.any() else None
            found, _ = cv2.projectPoints(seen[ahead], still, still, self.matrix, coefficients)
            pixels[ahead] = found.reshape(-1, 2)
        return pixels


def mounted_at(tcp: Pose, mount: Pose) -> Pose:
    """Pose in the base frame of what has the pose `mount` in the frame of the TCP."""
    return Pose(tcp.position + tcp.rotation @ mount.position, tcp.rotation @ mount.rotation)
