# SPDX-License-Identifier: Apache-2.0
"""A rig per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A small graph of this test alone."""
    made = Rig()
    yield made
    made.close()
