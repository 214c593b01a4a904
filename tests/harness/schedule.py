# SPDX-License-Identifier: Apache-2.0
"""What the fault relay does to the n-th message: a seeded plan, pure, so that a failing run can be repeated."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields

KINDS = (
    "drop",
    "delay",
    "duplicate",
    "reorder",
    "freeze",
    "restamp",
    "bitflip",
    "nan",
    "inf",
    "set",
)


@dataclass(frozen=True)
class Fault:
    """One kind of harm and when it is done.

    Attributes:
        kind: One of KINDS.
        probability: Chance per message inside the window.
        after: First message (counted from 0) that may be harmed.
        count: How many messages may be harmed, counted from `after`; -1 for no end.
        delay_s: For `delay` and for the copies of `duplicate`: how much later.
        copies: For `duplicate`: how many extra.
        shift_s: For `restamp`: added to the stamp; NaN sets it to zero. Applies to `stamp.observation` or `header`.
        field: For `nan`, `inf`, `set` and `bitflip`: dotted name of the array, text or number that is harmed.
        index: Element of that array; -1 draws one.
        value: For `set`: JSON text of the new value.
    """

    kind: str
    probability: float = 1.0
    after: int = 0
    count: int = -1
    delay_s: float = 0.0
    copies: int = 1
    shift_s: float = 0.0
    field: str = ""
    index: int = -1
    value: str = "null"

    def __post_init__(self) -> None:
        """Refuse a plan that would silently do nothing."""
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r}: not one of {', '.join(KINDS)}")
        if not 0.0 < self.probability <= 1.0:
            raise ValueError(f"probability {self.probability}: outside (0, 1]")
        if not (math.isfinite(self.delay_s) and self.delay_s >= 0.0):
            raise ValueError(f"delay_s {self.delay_s}: must be finite and not negative")
        if self.kind in ("nan", "inf", "set", "bitflip") and not self.field:
            raise ValueError(f"{self.kind} needs a field")

    def covers(self, number: int) -> bool:
        """Whether message `number` is inside the window."""
        return number >= self.after and (self.count < 0 or number < self.after + self.count)


@dataclass(frozen=True)
class Action:
    """What is to be done to one message.

    Attributes:
        emit_after_s: Delays of each copy that is sent on; empty means dropped.
        swap: Keep the message back until the next one has passed.
        freeze: Send the payload of the last unharmed message under this message's stamp.
        edits: Faults that change the content, with the drawn random number of each.
    """

    emit_after_s: tuple[float, ...] = (0.0,)
    swap: bool = False
    freeze: bool = False
    edits: tuple[tuple[Fault, int], ...] = ()

    @property
    def harmless(self) -> bool:
        """Whether the message passes as it is."""
        return self == Action()


class Schedule:
    """Seeded plan for a stream of messages; the same seed gives the same harm."""

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        """Faults apply in the order given."""
        self.faults = tuple(faults)
        self.seed = seed

    def action(self, number: int) -> Action:
        """What happens to message `number`; does not depend on which numbers were asked before."""
        # String seeding is stable over interpreter runs, unlike the hash of a tuple.
        rng = random.Random(f"{self.seed}/{number}")  # noqa: S311 - reproducible harm, not a secret
        emit: list[float] = [0.0]
        swap = freeze = False
        edits: list[tuple[Fault, int]] = []
        for fault in self.faults:
            draw, detail = rng.random(), rng.getrandbits(31)
            if not fault.covers(number) or draw >= fault.probability:
                continue
            if fault.kind == "drop":
                emit = []
            elif fault.kind == "delay":
                emit = [at + fault.delay_s for at in emit]
            elif fault.kind == "duplicate":
                emit += [at + fault.delay_s for at in emit[:1] for _ in range(fault.copies)]
            elif fault.kind == "reorder":
                swap = True
            elif fault.kind == "freeze":
                freeze = True
            else:
                edits.append((fault, detail))
        return Action(tuple(emit), swap and bool(emit), freeze, tuple(edits))


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Faults of a JSON list of objects, as the relay takes them by parameter.

    Raises:
        ValueError: A key or a value is not understood.
    """
    known = {item.name for item in fields(Fault)}
    result = []
    for entry in json.loads(text):
        if set(entry) - known:
            raise ValueError(f"unknown keys {sorted(set(entry) - known)}")
        result.append(Fault(**entry))
    return tuple(result)


def dump_faults(faults: Sequence[Fault]) -> str:
    """Inverse of `parse_faults`."""
    return json.dumps([{item.name: getattr(fault, item.name) for item in fields(Fault)} for fault in faults])
