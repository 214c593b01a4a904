# SPDX-License-Identifier: Apache-2.0
"""Moments that a VLA imitates, on disk: as its vision-language part has left them, or as images and words.

Where that part is frozen, what it leaves of an observation is computed once, so that a step costs the expert alone.

Legend: W windows, L layers, S prefix tokens, H horizon, A (padded) action dims, P (padded) state dims, K cameras.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from vla_policy.core.flow import Prefix
from vla_policy.core.preprocess import pixels_from_uint8
from vla_policy.core.training.rows import ByteRows, HalfRows


class Prompt(NamedTuple):
    """What the vision-language part is shown.

    Attributes:
        ids: int64 [W, S], image placeholders first.
        mask: [W, S], 0 for padding; None when nothing is.
        pixels: [W, K, 3, S, S] in [-1, 1].
    """

    ids: Tensor
    mask: Tensor | None
    pixels: Tensor


class Seen(NamedTuple):
    """Some windows, as the objective takes them.

    Attributes:
        prefix: Of a frozen vision-language part, None where `prompt` must go through it.
        prompt: None where there is a prefix.
        state: [W, P] normalised and padded.
        actions: [W, H, A] normalised and padded.
        weight: [W].
    """

    prefix: Prefix | None
    prompt: Prompt | None
    state: Tensor
    actions: Tensor
    weight: Tensor


class PrefixRow(NamedTuple):
    """One window behind a frozen vision-language part: state [1, P], actions [H, A]."""

    prefix: Prefix
    state: Tensor
    actions: Tensor
    weight: float = 1.0

    @property
    def disk_bytes(self) -> int:
        """Of keys and values in half precision."""
        return 2 * sum(tensor.numel() for tensor in (*self.prefix.keys, *self.prefix.values))


class ImageRow(NamedTuple):
    """One window: images uint8 [K, S, S, 3], ids [1, S], mask [1, S] or None, state [1, P], actions [H, A]."""

    images: Tensor
    ids: Tensor
    mask: Tensor | None
    state: Tensor
    actions: Tensor
    weight: float = 1.0

    @property
    def disk_bytes(self) -> int:
        """Of the images."""
        return self.images.numel()


class WindowSet(Protocol):
    """Windows by number."""

    def __len__(self) -> int:
        """W."""
        ...

    def take(self, rows: Tensor) -> Seen:
        """Those of these numbers."""
        ...


@dataclass(frozen=True, eq=False)
class Windows:
    """Observations as the action expert sees them, and what to do.

    Attributes:
        keys: W of [L, kv heads, S, head dim], on disk.
        values: W of [L, kv heads, S, head dim], on disk.
        state: float32 [W, P] normalised and padded.
        actions: float32 [W, H, A] normalised.
        weight: float32 [W], how much each counts.
        mask: [W, S], None when no token is padding.
    """

    keys: HalfRows
    values: HalfRows
    state: Tensor
    actions: Tensor
    weight: Tensor
    mask: Tensor | None = None

    @classmethod
    def of(cls, rows: Iterable[tuple[Prefix, Tensor, Tensor] | PrefixRow], folder: Path | None = None) -> Windows:
        """Of prefixes of one observation each, with state [1, P] and actions [H, A]; half precision as they come.

        Args:
            rows: One by one.
            folder: Where keys and values go, a few hundred kilobytes a window; the temporary folder by default.

        Raises:
            ValueError: There is not one.
            OSError: The disk is full.
        """
        keys, values = HalfRows(folder), HalfRows(folder)
        labels, masks = _Labels(), list[Tensor]()
        for given in rows:
            row = PrefixRow(*given)
            keys.append(torch.cat(row.prefix.keys))
            values.append(torch.cat(row.prefix.values))
            masks += [] if row.prefix.attention_mask is None else [row.prefix.attention_mask[0].cpu()]
            labels.add(row.state, row.actions, row.weight)
        state, actions, weight = labels.stacked()
        return cls(keys, values, state, actions, weight, torch.stack(masks) if masks else None)

    def __len__(self) -> int:
        """W."""
        return len(self.actions)

    def prefix(self, rows: Tensor) -> Prefix:
        """Of some of them."""
        keys, values = (tuple(x[rows].float().unbind(1)) for x in (self.keys, self.values))
        mask = None if self.mask is None else self.mask[rows]
        return Prefix(keys, values, mask, (), torch.zeros(len(rows), 1, 1))

    def take(self, rows: Tensor) -> Seen:
        """See `WindowSet`."""
        return Seen(self.prefix(rows), None, self.state[rows], self.actions[rows], self.weight[rows])


@dataclass(frozen=True, eq=False)
class ImageWindows:
    """Observations as the whole VLA sees them, and what to do; images stay on disk.

    Attributes:
        images: W of uint8 [K, S, S, 3], on disk.
        ids: int64 [W, S].
        mask: [W, S], None when no token is padding.
        state: float32 [W, P] normalised and padded.
        actions: float32 [W, H, A] normalised.
        weight: float32 [W].
    """

    images: ByteRows
    ids: Tensor
    mask: Tensor | None
    state: Tensor
    actions: Tensor
    weight: Tensor

    @classmethod
    def of(cls, rows: Iterable[ImageRow], folder: Path | None = None) -> ImageWindows:
        """Raises as `Windows.of`."""
        images, labels = ByteRows(folder), _Labels()
        ids, masks = list[Tensor](), list[Tensor]()
        for row in rows:
            images.append(row.images)
            ids.append(row.ids[0])
            masks += [] if row.mask is None else [row.mask[0]]
            labels.add(row.state, row.actions, row.weight)
        state, actions, weight = labels.stacked()
        return cls(images, torch.stack(ids), torch.stack(masks) if masks else None, state, actions, weight)

    def __len__(self) -> int:
        """W."""
        return len(self.actions)

    def take(self, rows: Tensor) -> Seen:
        """See `WindowSet`."""
        mask = None if self.mask is None else self.mask[rows]
        prompt = Prompt(self.ids[rows], mask, pixels_from_uint8(self.images[rows]))
        return Seen(None, prompt, self.state[rows], self.actions[rows], self.weight[rows])


class _Labels:
    """State, actions and weights while they come."""

    def __init__(self) -> None:
        self._rows: list[tuple[Tensor, Tensor, float]] = []

    def add(self, state: Tensor, actions: Tensor, weight: float) -> None:
        self._rows.append((state[0].float().cpu(), actions.float(), weight))

    def stacked(self) -> tuple[Tensor, Tensor, Tensor]:
        if not self._rows:
            raise ValueError("no window: nothing to learn from")
        states, actions, weights = zip(*self._rows, strict=True)
        # Stacking copies: what was made in inference mode cannot take part in a backward pass.
        return torch.stack(states), torch.stack(actions), torch.tensor(weights)


def padded(actions: Tensor, dims: int) -> Tensor:
    """[H, A'] with zeros up to `dims`, as models that pad their actions were trained."""
    return F.pad(actions, (0, dims - actions.shape[-1]))
