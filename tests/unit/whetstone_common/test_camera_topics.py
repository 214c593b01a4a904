# SPDX-License-Identifier: Apache-2.0
"""Topics of cameras, as drivers and image_transport call them."""

from __future__ import annotations

import pytest

from whetstone_common.core.camera_topics import compressed, is_compressed, names_of, namespace_of


@pytest.mark.parametrize(
    ("raw", "namespace"),
    [("/camera/camera/color/image_raw", "/camera/camera/color"), ("camera/front/image_raw", "camera/front")],
)
def test_when_images_are_raw_or_compressed_expect_one_camera(raw: str, namespace: str) -> None:
    assert compressed(raw) == compressed(compressed(raw)) == f"{raw}/compressed"
    assert (is_compressed(raw), is_compressed(compressed(raw))) == (False, True)
    assert namespace_of(raw) == namespace_of(compressed(raw)) == namespace


def test_when_two_cameras_would_have_one_name_expect_their_topics() -> None:
    topics = ["/left/color/image_raw", "/right/color/image_raw/compressed", "/camera/wrist/image_raw", "/image_raw"]
    assert list(names_of(topics).values()) == [*topics[:2], "wrist", "/image_raw"]
