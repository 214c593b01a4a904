# SPDX-License-Identifier: Apache-2.0
"""What the name of a camera's topic says, by the conventions of image_transport."""

from __future__ import annotations

from collections.abc import Iterable

_COMPRESSED = "/compressed"


def is_compressed(topic: str) -> bool:
    """Whether sensor_msgs/CompressedImage (JPEG or PNG) comes on a topic, and not sensor_msgs/Image."""
    return topic.endswith(_COMPRESSED)


def compressed(topic: str) -> str:
    """Topic of a camera's compressed images, given that or the topic of its raw ones."""
    return topic if is_compressed(topic) else topic + _COMPRESSED


def namespace_of(topic: str) -> str:
    """Namespace of a camera: its calibration and pose lie beside its images, whichever of them are read."""
    return topic.removesuffix(_COMPRESSED).rpartition("/")[0]


def names_of(topics: Iterable[str]) -> dict[str, str]:
    """Name of a camera by its topic: `front` of `/camera/front/image_raw`, the whole topic where two are called so."""
    names = {topic: namespace_of(topic).rpartition("/")[2] or topic for topic in topics}
    taken = list(names.values())
    return {topic: name if taken.count(name) == 1 else topic for topic, name in names.items()}
