# SPDX-License-Identifier: Apache-2.0
"""Parameters of a node by its schema file: values at the start, and what may be set later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from rclpy.parameter import Parameter

from whetstone_common.core.parameters import ParameterError, ParameterSchema

_ROS_OWN = {"use_sim_time", "start_type_description_service"}


def load_schema(name: str, package: str) -> ParameterSchema:
    """Schema of a node: `<share of package>/config/<name>_params.yaml` and what every node has."""
    own, common = (Path(get_package_share_directory(each)) / "config" for each in (package, "whetstone_common"))
    return ParameterSchema.load(own / f"{name}_params.yaml", include=common / "common_params.yaml")


class NodeParameters:
    """Checked values of all parameters of a node.

    Attributes:
        schema: Types, bounds and defaults.
        values: By name.
    """

    def __init__(
        self, schema: ParameterSchema, overrides: Mapping[str, Parameter], check: Callable[[dict[str, Any]], None]
    ) -> None:
        """Join defaults and given values.

        Args:
            schema: Types, bounds and defaults.
            overrides: Given at the start of the node.
            check: Raises ParameterError when a whole set makes no sense.

        Raises:
            ParameterError: A given value is unknown, of the wrong type, not finite or out of range.
        """
        self.schema = schema
        self._check = check
        given = schema.check({name: p.value for name, p in overrides.items() if name not in _ROS_OWN})
        self.values: dict[str, Any] = {name: spec.default for name, spec in schema.specs.items()} | given
        check(self.values)

    def check(self, parameters: Iterable[Parameter], *, is_armed: Callable[[], bool]) -> None:
        """Judge new values; nothing changes.

        Raises:
            ParameterError: They are refused; the text says why.
        """
        given = self._given(parameters)
        for name in given:
            spec, now = self.schema.specs[name], self.values[name]
            if spec.read_only:
                raise ParameterError(f"{name} is fixed at start, it is {now!r}: start the node anew to change it")
            if spec.locked_while_armed and is_armed():
                raise ParameterError(f"{name} is locked while armed, it is {now!r}: disarm first")
        self._check(self.values | given)

    def take(self, parameters: Iterable[Parameter]) -> set[str]:
        """Store new values that were checked; returns their names, without ROS' own."""
        given = self._given(parameters)
        self.values |= given
        return set(given)

    def _given(self, parameters: Iterable[Parameter]) -> dict[str, Any]:
        return self.schema.check({p.name: p.value for p in parameters if p.name not in _ROS_OWN})
