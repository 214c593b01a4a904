# SPDX-License-Identifier: Apache-2.0
"""From an observation of ours to the message that a policy server takes.

Legend: M dimensions of the model's state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.protocol import FloatArray, ImageArray, Observation
from vla_policy.core.published.mapping import ModelMapping

_STATE = "observation/state"


class ObservationMessage:
    """Names of a server's observation, as a mapping file says them.

    Args:
        mapping: The file.

    Raises:
        CheckpointError: The parts of the state are not as long as the state, or a key stands for two things.
    """

    def __init__(self, mapping: ModelMapping) -> None:
        server, dims = mapping.server, len(mapping.state)
        parts = server.state or {_STATE: dims}
        if sum(parts.values()) != dims:
            raise CheckpointError(f"server.state: its parts have {sum(parts.values())} numbers, state has {dims}")
        self._parts = dict(zip(parts, np.cumsum([0, *parts.values()])[:-1].tolist(), strict=True))
        self._lengths = parts
        self._images = {key: camera for key, camera in mapping.cameras.items() if camera is not None}
        self._prompt, self._nested = server.prompt, server.nested
        self._is_chw = server.image_layout == "chw"
        keys = [*self._images, *self._parts, self._prompt]
        if repeated := sorted({key for key in keys if keys.count(key) > 1}):
            raise CheckpointError(f"server: the key {repeated[0]!r} stands for two things")

    def of(self, observation: Observation, state: FloatArray) -> dict[str, Any]:
        """The message.

        Args:
            observation: Images and words.
            state: [M] as the model was trained.
        """
        entries: dict[str, Any] = {key: self._image(observation.images[name]) for key, name in self._images.items()}
        for key, begin in self._parts.items():
            entries[key] = state[begin : begin + self._lengths[key]]
        entries[self._prompt] = observation.instruction
        return _nested(entries) if self._nested else entries

    def _image(self, image: ImageArray) -> ImageArray:
        return np.moveaxis(image, -1, 0) if self._is_chw else image


def _nested(entries: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in entries.items():
        *outer, last = key.split("/")
        inner = made
        for name in outer:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return made
