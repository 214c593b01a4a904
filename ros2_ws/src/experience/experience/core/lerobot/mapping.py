# SPDX-License-Identifier: Apache-2.0
"""Joints as another recorder writes them, turned into the robot's names, order and units.

Legend: T frames, J joints of the arm, K numbers of a frame in the dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whetstone_common.core.foreign import Name, StrictModel, read_yaml
from whetstone_common.core.joint_layout import JointLayout

_FACTORS = {"rad": 1.0, "deg": np.pi / 180.0, "m": 1.0, "percent": 0.01, "opening": 1.0}
_ARM_UNITS = ("rad", "deg")
_POSITIONS = ("rad", "deg", "m")  # of the gripper's joint, from closed to open as the robot file says


class MappingError(ValueError):
    """A mapping file that cannot be used; the text names file and key."""


class _Joint(StrictModel):
    name: Name | None = None
    unit: Literal["rad", "deg", "m", "percent", "opening"] | None = None
    scale: float = 1.0
    offset: float = 0.0


class _File(StrictModel):
    joints: dict[Name, _Joint] = Field(min_length=1)
    names: list[Name] | None = None


@dataclass(frozen=True)
class JointMapping:
    """Where each of the robot's joints stands in a dataset, and what its numbers mean.

    Attributes:
        layout: The robot's joints.
        columns: Name in the dataset, unit, scale and offset of each of the robot's joints, the gripper last.
        names: Names of the dataset's numbers, where its info.json does not say them, or not rightly.
    """

    layout: JointLayout
    columns: tuple[tuple[str, str, float, float], ...]
    names: tuple[str, ...] = ()

    def convert(self, values: NDArray[np.float64], names: Sequence[str], where: str) -> NDArray[np.float64]:
        """[T, J + 1] arm (rad), then the gripper's opening, 0 closed to 1 open.

        Args:
            values: [T, K] as recorded.
            names: K names of the dataset, empty where it has none.
            where: For the sentence.

        Raises:
            MappingError: A joint is not in the dataset.
        """
        dataset_names = list(self.names or names)
        if len(dataset_names) != values.shape[1]:
            raise MappingError(
                f"{where} has {values.shape[1]} numbers, there are {len(dataset_names)} names: {dataset_names}"
            )
        if missing := [name for name, *_ in self.columns if name not in dataset_names]:
            raise MappingError(f"{where} has no {missing[0]!r}, which the mapping names; it has {dataset_names}")
        converted = [
            _FACTORS[unit] * (values[:, dataset_names.index(name)] * scale + offset)
            for name, unit, scale, offset in self.columns
        ]
        if self.columns[-1][1] in _POSITIONS:
            closed, opened = self.layout.gripper_closed, self.layout.gripper_open
            converted[-1] = (converted[-1] - closed) / (opened - closed)
        return np.stack(converted, axis=1)


def read_mapping(path: Path, layout: JointLayout) -> JointMapping:
    """A mapping file for a robot.

    Args:
        path: YAML with `joints`: robot joint to name, unit, scale and offset; and, if need be, `names`.
        layout: The robot's joints.

    Raises:
        MappingError: A key is wrong, or the joints are not the robot's.
    """
    file = read_yaml(path, _File, MappingError)
    missing, unknown = [[a for a in one if a not in other] for one, other in (
        (layout.names, file.joints), (file.joints, layout.names),
    )]  # fmt: skip
    if missing or unknown:
        raise MappingError(f"{path}: joints lacks {missing} and has {unknown}, the robot has {list(layout.names)}")
    columns = tuple(_column(path, layout, joint, file.joints[joint]) for joint in layout.names)
    used = [name for name, *_ in columns]
    for names, key in ((used, "joints"), (file.names or [], "names")):
        if len(set(names)) != len(names):
            raise MappingError(f"{path}: {key} uses a name twice: {names}")
    return JointMapping(layout, columns, tuple(file.names or ()))


def _column(path: Path, layout: JointLayout, joint: str, entry: _Joint) -> tuple[str, str, float, float]:
    is_gripper = joint == layout.gripper
    unit = entry.unit or ("opening" if is_gripper else "rad")
    if not is_gripper and unit not in _ARM_UNITS:
        raise MappingError(
            f"{path}: joints.{joint}.unit is {unit!r}, an arm's joint has 'rad' or 'deg', after scale and offset"
        )
    if entry.scale == 0.0:
        raise MappingError(f"{path}: joints.{joint}.scale is 0, every value would be the same")
    return entry.name or joint, unit, entry.scale, entry.offset
