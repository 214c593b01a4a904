# SPDX-License-Identifier: Apache-2.0
"""The gripper opening that was last commanded in the present scene."""

from __future__ import annotations

Episode = tuple[int, int]  # epoch of the arm, number

_OPEN = 1.0


class CommandedOpening:
    """Follows the executed commands; a new scene begins with an open gripper.

    The last commands of an episode arrive after the reset that ended it: a hand that closed then closes nothing now.

    Attributes:
        opening: 1 open, 0 closed.
        newest_episode: Newest episode of the arm of which anything was received.
        scene: Number of the present scene, -1 before the first.
    """

    def __init__(self) -> None:
        """No scene, nothing commanded."""
        self.opening = _OPEN
        self.newest_episode: Episode = (0, 0)
        self._ended_episode: Episode = (0, 0)  # by the last reset
        self.scene = -1

    def on_executed(self, episode: Episode, opening: float | None) -> None:
        """A step was executed.

        Args:
            episode: That it belongs to.
            opening: Commanded with it, None when the record does not say.
        """
        if _is_later(episode, self.newest_episode):
            self.newest_episode = episode
        if opening is not None and _is_later(episode, self._ended_episode):
            self.opening = opening

    def on_scene(self, scene: int) -> None:
        """Number of the present scene; another one than before ends the episode that was executed."""
        if scene != self.scene:
            self.scene, self.opening, self._ended_episode = scene, _OPEN, self.newest_episode


def _is_later(episode: Episode, other: Episode) -> bool:
    # Numbers of different starts of the arm say nothing about which came first.
    return episode[0] != other[0] or episode > other
