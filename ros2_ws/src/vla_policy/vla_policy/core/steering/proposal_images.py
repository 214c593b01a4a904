# SPDX-License-Identifier: Apache-2.0
"""Pairs each proposal with the images that it was made of; whichever comes first waits."""

from __future__ import annotations

from typing import Generic, TypeVar

from vla_policy.core.stacked_images import Images
from vla_policy.core.steering.recent_images import RecentImages
from whetstone_common.core.stamp import Stamp

P = TypeVar("P")


class ProposalImages(Generic[P]):
    """Images of the last observations, and the newest proposal that was faster than its images."""

    def __init__(self) -> None:
        """Nothing has been seen yet."""
        self._recent = RecentImages()
        self._early: tuple[Stamp, P] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a proposal waits for its images."""
        return self._early is not None

    def put(self, stamp: Stamp, images: Images) -> P | None:
        """Keep the images of an observation; return the proposal that waited, when its images are here now."""
        self._recent.put(stamp, images)
        if self._early is None or self._recent.of(self._early[0]) is None:
            return None
        early, self._early = self._early[1], None
        return early

    def of(self, stamp: Stamp, proposal: P) -> Images | None:
        """Images that a proposal was made of; None while they have not come, and then `put` returns it."""
        images = self._recent.of(stamp)
        if images is None:
            self._early = (stamp, proposal)
        return images
