# SPDX-License-Identifier: Apache-2.0
"""Several observations in one pass where a backend can, and what is wrong with one of them spoils no other.

Legend: N candidates, H chunk length, D noise dims, A action dims, F feature dims.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.protocol import Backend, BatchBackend, FloatArray, Observation
from vla_policy.core.serving import check_chunks, checked_chunks, checked_features

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Draft:
    """Chunks that are yet to be made.

    Attributes:
        context: Of the observation, as the backend's prefix pass gave it.
        noise: float32 [N, H, D].
        old: What is left of the chunk that plays, None where none does.
    """

    context: Any
    noise: FloatArray
    old: ChunkPrefix | None = None

    @property
    def shape(self) -> tuple[object, ...]:
        """Drafts of one shape can be denoised together."""
        return self.noise.shape, None if self.old is None else self.old.beta


def together(work: Callable[[Sequence[T]], list[R]], items: Sequence[T]) -> list[R | Exception]:
    """Results of all items at once; where that fails, of each by itself, or what it raised.

    Args:
        work: One result for each item that it is given.
        items: At least one.
    """
    try:
        return list(work(items))
    except Exception as error:  # noqa: BLE001 - handed to whoever asked for this item
        return [error] if len(items) == 1 else [together(work, [item])[0] for item in items]


def looked_at(backend: Backend, observations: Sequence[Observation]) -> list[tuple[Any, FloatArray] | Exception]:
    """Context and features [F] of each observation, by one prefix pass where the backend can, or what is wrong."""
    return together(lambda group: _look(backend, group), observations)


def _look(backend: Backend, observations: Sequence[Observation]) -> list[tuple[Any, FloatArray]]:
    if len(observations) == 1 or not isinstance(backend, BatchBackend):
        contexts = [backend.prefix(observation) for observation in observations]
    else:
        contexts = backend.prefix_batch(observations)
    return [(context, checked_features(backend, context)) for context in contexts]


def denoised(backend: Backend, drafts: Sequence[Draft]) -> list[FloatArray | Exception]:
    """Chunks [N, H, A] of each draft, or what is wrong with it; drafts of one shape in one pass."""
    groups: dict[object, list[int]] = defaultdict(list)
    for index, draft in enumerate(drafts):
        groups[draft.shape].append(index)
    found: dict[int, FloatArray | Exception] = {}
    for indices in groups.values():
        chunks = together(lambda group: _chunks(backend, group), [drafts[index] for index in indices])
        found |= zip(indices, chunks, strict=True)
    return [found[index] for index in range(len(drafts))]


def _chunks(backend: Backend, drafts: Sequence[Draft]) -> list[FloatArray]:
    if len(drafts) == 1 or not isinstance(backend, BatchBackend):
        return [checked_chunks(backend, draft.context, draft.noise, draft.old) for draft in drafts]
    olds = [draft.old for draft in drafts if draft.old is not None]
    made = backend.denoise_batch([draft.context for draft in drafts], [draft.noise for draft in drafts], olds)
    return [check_chunks(backend, chunks, len(draft.noise)) for chunks, draft in zip(made, drafts, strict=True)]
