# SPDX-License-Identifier: Apache-2.0
"""Images of the last observations, until the proposal that was made of them comes."""

from __future__ import annotations

from collections import OrderedDict

from vla_policy.core.stacked_images import Images
from whetstone_common.core.stamp import Stamp

_KEPT = 8  # requests under way at once are one or two


class RecentImages:
    """The last few observations' images by the request they answer."""

    def __init__(self) -> None:
        """Nothing has been seen yet."""
        self._kept: OrderedDict[tuple[int, int, int, int], Images] = OrderedDict()

    def put(self, stamp: Stamp, images: Images) -> None:
        """Keep uint8 [K, H, W, 3]; the oldest go."""
        self._kept[_key(stamp)] = images
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def of(self, stamp: Stamp) -> Images | None:
        """Images of the observation of that stamp, None while they have not come."""
        return self._kept.get(_key(stamp))


def _key(stamp: Stamp) -> tuple[int, int, int, int]:
    return stamp.epoch, stamp.episode, stamp.request_id, stamp.sequence
