# SPDX-License-Identifier: Apache-2.0
"""Which start of a process is followed, of all those that speak under one name. Time is passed in.

An epoch is an identity, not a time: a computer whose clock went back gives its next start a smaller number, and one
start with a clock in the future must not outrank all later ones. So epochs are never compared by size. Another one is
followed when the one before has fallen silent; a message of the past is told by its own numbers within its epoch.
"""

from __future__ import annotations

from collections import OrderedDict

from whetstone_common.core.stamp import Stamp

SILENT_S = 1.0
_MOST_KNOWN = 256


class EpochTracker:
    """Follows one epoch at a time.

    Args:
        silent_s: Silence of the followed one after which another is followed (s).

    Attributes:
        followed: The epoch that counts now, 0 for none yet.
    """

    def __init__(self, silent_s: float = SILENT_S) -> None:
        self._silent_s = silent_s
        self.followed = 0
        self._observed_s = 0.0
        self._recorded: OrderedDict[int, None] = OrderedDict()

    def counts(self, epoch: int, now_s: float) -> bool:
        """Whether a message of that epoch counts: it is the followed one, or that one is silent."""
        return epoch == self.followed or not self.followed or now_s - self._observed_s >= self._silent_s

    def observe(self, epoch: int, now_s: float) -> bool:
        """Whether a message of that epoch counts; its epoch is followed then."""
        if not self.counts(epoch, now_s):
            return False
        self._follow(epoch, now_s)
        return True

    def announce(self, epoch: int, now_s: float) -> bool:
        """A process says that it has started: it is followed at once, unless it was followed before."""
        if epoch in self._recorded:
            return False
        self._follow(epoch, now_s)
        return True

    def is_known(self, epoch: int) -> bool:
        """Whether it is followed, or was."""
        return epoch in self._recorded

    def _follow(self, epoch: int, now_s: float) -> None:
        self.followed, self._observed_s = epoch, now_s
        self._recorded[epoch] = None
        self._recorded.move_to_end(epoch)
        if len(self._recorded) > _MOST_KNOWN:
            self._recorded.popitem(last=False)


class NewestStamp:
    """The newest request of the arm, across its starts: a repeat or an older one is refused.

    A start that was never heard of is served at once, since nothing moves by the answer but the arm that asked.

    Args:
        silent_s: As for `EpochTracker`.
    """

    def __init__(self, silent_s: float = SILENT_S) -> None:
        self._epochs = EpochTracker(silent_s)
        self._newest: OrderedDict[int, tuple[int, int]] = OrderedDict()

    def is_newer(self, stamp: Stamp, now_s: float) -> bool:
        """Whether it is newer than all others of its epoch, and of an arm that counts."""
        is_newer = (stamp.episode, stamp.request_id) > self._newest.get(stamp.epoch, (-1, -1))
        return is_newer and (not self._epochs.is_known(stamp.epoch) or self._epochs.counts(stamp.epoch, now_s))

    def accept(self, stamp: Stamp, now_s: float) -> bool:
        """As `is_newer`; it is the newest from now on then."""
        if not self.is_newer(stamp, now_s):
            return False
        if not self._epochs.announce(stamp.epoch, now_s):
            self._epochs.observe(stamp.epoch, now_s)
        self._newest[stamp.epoch] = (stamp.episode, stamp.request_id)
        if len(self._newest) > _MOST_KNOWN:
            self._newest.popitem(last=False)
        return True
