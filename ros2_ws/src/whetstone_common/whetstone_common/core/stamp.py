# SPDX-License-Identifier: Apache-2.0
"""Identity of one request cycle."""

from __future__ import annotations

from dataclasses import dataclass

# Sequences of queries start here, so that a query never changes the noise of what is executed.
QUERY_SEQUENCE = 1 << 31


@dataclass(frozen=True)
class Stamp:
    """Request cycle that a piece of data belongs to.

    Stamps have no order of their own: an epoch is an identity, not a time. `whetstone_common.core.epochs` tells what is
    newer.

    Attributes:
        epoch: Identity of the arm_node run.
        episode: Episode number within the epoch, 0 for none.
        request_id: Request number within the epoch, from 1.
        sequence: Request number within the episode, from 0.
        observation_ns: Stamp of the observation, ROS time in nanoseconds.
    """

    epoch: int
    episode: int
    request_id: int
    sequence: int = 0
    observation_ns: int = 0

    def same_request(self, other: Stamp) -> bool:
        """Whether both belong to one request; the observation time may have been filled in later."""
        return (self.epoch, self.episode, self.request_id) == (other.epoch, other.episode, other.request_id)
