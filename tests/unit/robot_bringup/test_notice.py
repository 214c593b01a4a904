# SPDX-License-Identifier: Apache-2.0
"""What is shown for a moment."""

from __future__ import annotations

from robot_bringup.core.notice import Notice
from whetstone_common.core.reason import Reason


def test_when_given_expect_it_shown_for_a_while_and_the_newest_to_win():
    notice = Notice()
    notice.at(0.0)
    assert not notice.fresh
    notice.give(Reason.BAD_MESSAGE, "a")
    assert notice.fresh
    notice.at(1.0)
    notice.give(Reason.SECOND_SOURCE, "b")
    notice.at(2.0)
    assert notice.fresh and notice.reason is Reason.SECOND_SOURCE and notice.detail == "b"
    notice.at(4.5)
    assert not notice.fresh
