# SPDX-License-Identifier: Apache-2.0
"""Numbers of request cycles: epoch, episode, request, sequence."""

from __future__ import annotations

from whetstone_common.core.stamp import QUERY_SEQUENCE, Stamp


class RequestCounter:
    """Gives every request its stamp.

    Args:
        epoch: Identity of this run.
    """

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._request_id = 0
        self._sequence = 0
        self._looks = 0
        self.episode = 0
        self.seed = 0
        self.max_steps = 0
        self.steps = 0
        self.newest = Stamp(epoch, 0, 0)

    def begin(self, episode: int, seed: int, max_steps: int) -> None:
        """Start an episode.

        Args:
            episode: Its number, 0 for the next.
            seed: Of the policy's noise.
            max_steps: Policy steps after which it ends, 0 for no bound.

        Raises:
            ValueError: The number was used already.
        """
        number = episode or self.episode + 1
        if number <= self.episode:
            raise ValueError(f"episode {number} is over; the next one is {self.episode + 1}")
        self.episode, self.seed, self.max_steps = number, seed, max_steps
        self._sequence = self._looks = self.steps = 0
        self.newest = Stamp(self._epoch, number, self._request_id)

    @property
    def over(self) -> bool:
        """Whether the episode has all its steps."""
        return bool(self.max_steps) and self.steps >= self.max_steps

    def act(self, ros_ns: int) -> Stamp:
        """Stamp of a request whose reply will be executed."""
        self.newest = self._next(self._sequence, ros_ns)
        self._sequence += 1
        return self.newest

    def query(self, ros_ns: int) -> Stamp:
        """Stamp of a request whose reply is only looked at."""
        stamp = self._next(QUERY_SEQUENCE + self._looks, ros_ns)
        self._looks += 1
        return stamp

    def _next(self, sequence: int, ros_ns: int) -> Stamp:
        self._request_id += 1
        return Stamp(self._epoch, self.episode, self._request_id, sequence, ros_ns)
