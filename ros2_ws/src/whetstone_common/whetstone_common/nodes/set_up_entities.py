# SPDX-License-Identifier: Apache-2.0
"""What a node's set-up hook creates, so that a clean-up leaves nothing that would be doubled later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class SetUpEntities:
    """Publishers, subscriptions, services and timers that were created since `begin`."""

    def __init__(self) -> None:
        self._entities: list[tuple[Callable[[Any], bool], Any]] | None = None

    def begin(self) -> None:
        """From now on what is created belongs to the set-up."""
        self._entities = []

    def keep(self, destroy: Callable[[Any], bool], entity: Any) -> Any:
        """Note an entity and how it is destroyed; returns the entity. Without a set-up, nothing is noted."""
        if self._entities is not None:
            self._entities.append((destroy, entity))
        return entity

    def destroy(self) -> None:
        """Destroy them, the last one first."""
        entities, self._entities = self._entities or [], None
        for destroy, entity in reversed(entities):
            destroy(entity)
