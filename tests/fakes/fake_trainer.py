# SPDX-License-Identifier: Apache-2.0
"""Publishes sets of weights on demand: good ones, and every kind that must be refused."""

from __future__ import annotations

import pickle  # noqa: TID251 - made here, to be refused
import random
from collections.abc import Callable
from typing import Any

from vla_interfaces.msg import PolicyContract, PolicyWeights

from fakes.base import FakeNode, run
from fakes.policy_sets import Packed, disguised, expo_set, wrong_sets
from rl_methods.common.weights import split
from vla_policy.nodes.weights_wire import from_piece
from whetstone_common.core.contract import Contract
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_contract

PIECE = 4096  # so that small sets have several


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


class FakeTrainer(FakeNode):
    """Parameter `send`: `<kind>:<version>[:<detail>]`; publishes that set of run `run`, signed with `key` if any.

    Kinds: `good`; `shuffled`, pieces in another order and twice, by a seed; `cut`, to a share of its bytes; `missing`,
    one piece; `bit`, flipped by a seed; `wrong`, by a name of `wrong_sets`; `pickle`, that would make a file.
    """

    def __init__(self) -> None:
        super().__init__("fake_trainer", {"send": "", "run": "run", "key": ""})
        self._contract: Contract | None = None
        self._weights = self.create_publisher(PolicyWeights, "policy_weights", qos.WEIGHTS)
        self.create_subscription(PolicyContract, "policy_contract", self._on_contract, qos.LATCHED)

    def _on_contract(self, msg: PolicyContract) -> None:
        self._contract = to_contract(msg)

    def ready(self) -> None:
        """Only when it knows for whom to train, and somebody listens."""
        if self._contract is not None and self._weights.get_subscription_count() > 0:
            super().ready()

    def on_told(self, names: set[str]) -> None:
        """Send what was asked for."""
        if "send" in names and self.told["send"]:
            kind, version, *rest = self.told["send"].split(":")
            getattr(self, f"_{kind}")(int(version), *rest)

    def _made(self, version: int) -> Packed:
        assert self._contract is not None
        key = self.told["key"].encode()
        return expo_set(self._contract, version, seed=version, run=self.told["run"], key=key)

    def _publish(self, packed: Packed, order: Callable[[list[int]], list[int]] = list) -> None:
        manifest, data = packed
        pieces = split(data, PIECE)
        for number in order(list(range(len(pieces)))):
            self._weights.publish(from_piece(manifest, number, len(pieces), pieces[number]))

    def _good(self, version: int) -> None:
        self._publish(self._made(version))

    def _shuffled(self, version: int, seed: str) -> None:
        self._publish(self._made(version), lambda all_: random.Random(seed).sample(2 * all_, 2 * len(all_)))  # noqa: S311

    def _missing(self, version: int, piece: str) -> None:
        self._publish(self._made(version), lambda all_: [n for n in all_ if n != int(piece)])

    def _cut(self, version: int, share: str) -> None:
        manifest, data = self._made(version)
        self._publish((manifest, data[: int(float(share) * len(data))]))

    def _bit(self, version: int, seed: str) -> None:
        manifest, data = self._made(version)
        header = 8 + int.from_bytes(data[:8], "little")
        # In the numbers, where no parser would notice.
        flipped = bytearray(data)
        flipped[random.Random(seed).randrange(header, len(data))] ^= 1  # noqa: S311
        self._publish((manifest, bytes(flipped)))

    def _wrong(self, version: int, name: str) -> None:
        assert self._contract is not None
        self._publish(wrong_sets(self._contract, version)[name][0])

    def _pickle(self, version: int, path: str) -> None:
        self._publish(disguised(self._made(version), pickle.dumps(Bomb(path))))


if __name__ == "__main__":
    run(FakeTrainer)
