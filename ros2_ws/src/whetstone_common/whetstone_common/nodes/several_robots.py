# SPDX-License-Identifier: Apache-2.0
"""A node that may serve several robots, each in a namespace of its own."""

from __future__ import annotations

from typing import Any

from whetstone_common.core.namespace import NamespaceError, absolute_namespace
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.robot_view import RobotView, SharedTimers, Side

_NONE = [[], [""]]  # a launch file cannot write the first: an empty list has no type


class SeveralRobotsNode(WhetstoneNode):
    """Serves the robots of its parameter `robots`.

    Without them it serves the robot in whose namespace it runs, and its status is that robot's.
    """

    def __init__(self, name: str, *, package: str, sole_output: str, **kwargs: Any) -> None:
        """As `WhetstoneNode`, and make a view of each robot.

        Args:
            name: Node name and stem of the schema file.
            package: Package whose share directory holds the schema.
            sole_output: Topic on which no other node may speak to a robot.
            kwargs: Passed on to the ROS node.

        Raises:
            ParameterError: A given value is refused.
        """
        self._views: list[RobotView] = []
        super().__init__(name, package=package, **kwargs)
        timers, names = SharedTimers(self), self.param("robots")
        self._views = [RobotView(self, timers, each, sole_output) for each in names] if names not in _NONE else []

    @property
    def sides(self) -> list[Side]:
        """The view of each robot; the node itself where it serves one."""
        return list(self._views) or [self]

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Robots are namespaces, each named once.

        Raises:
            ParameterError: One is no namespace, or is there twice.
        """
        if values["robots"] in _NONE:
            return
        try:
            names = [absolute_namespace(name) for name in values["robots"]]
        except NamespaceError as error:
            raise ParameterError(f"robots: {error}") from error
        if "" in names or len(set(names)) < len(names):
            raise ParameterError(f"robots = {values['robots']}: expected different namespaces, none of them empty")

    def set_state(
        self, state: State, reason: Reason = Reason.NONE, detail: str = "", *, is_logged: bool = True
    ) -> None:
        """Each robot is shown what holds for the node, but whether it is READY is its own affair."""
        super().set_state(state, reason, detail, is_logged=is_logged)
        for view in self._views if state is not State.READY else []:
            view.set_state(state, reason, detail, is_logged=False)

    def mute(self, *, is_muted: bool) -> None:
        """The robots hear nothing either."""
        super().mute(is_muted=is_muted)
        for view in self._views:
            view.mute(is_muted=is_muted)
