# SPDX-License-Identifier: Apache-2.0
"""Which offscreen OpenGL is chosen."""

from __future__ import annotations

import pytest

from sim_bridge.core.gl import choose_backend


@pytest.mark.parametrize(
    ("installed", "backend"),
    [
        ({"EGL", "GL", "OSMesa"}, "egl"),
        ({"EGL", "OSMesa"}, "osmesa"),  # EGL without GL cannot draw
        ({"OSMesa"}, "osmesa"),
        (set(), "disable"),
    ],
)
def test_when_libraries_are_installed_expect_the_fastest_that_works(installed: set[str], backend: str) -> None:
    assert choose_backend(lambda name: f"lib{name}.so" if name in installed else None) == backend
