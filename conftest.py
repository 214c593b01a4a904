# SPDX-License-Identifier: Apache-2.0
"""Mark every test with the ring it belongs to, by its folder below tests/."""

from pathlib import Path

import pytest

RINGS = ("unit", "node", "process", "learning")
TESTS = Path(__file__).resolve().parent / "tests"


def pytest_collection_modifyitems(items):
    for item in items:
        if TESTS in item.path.parents:
            ring = item.path.relative_to(TESTS).parts[0]
            if ring in RINGS:
                item.add_marker(getattr(pytest.mark, ring))
