# SPDX-License-Identifier: Apache-2.0
"""Shares of the machine are held by one at a time."""

from __future__ import annotations

import threading
from pathlib import Path

from harness.cores import CoreShares
from harness.until import stays, until


def test_when_all_shares_are_held_expect_the_next_to_wait_until_they_are_free(tmp_path: Path) -> None:
    first = CoreShares(3, tmp_path, shares=4)
    got: list[CoreShares] = []
    thread = threading.Thread(target=lambda: got.append(CoreShares(2, tmp_path, shares=4)))
    thread.start()
    stays(lambda: not got, 0.3)
    first.release()
    until(lambda: got, 5.0, "the second has its shares")
    thread.join(5.0)
    got[0].release()


def test_when_more_is_wanted_than_there_is_expect_all_of_it(tmp_path: Path) -> None:
    CoreShares(99, tmp_path, shares=2).release()
    CoreShares(2, tmp_path, shares=2).release()
