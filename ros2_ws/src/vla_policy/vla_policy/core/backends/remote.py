# SPDX-License-Identifier: Apache-2.0
"""A policy behind somebody else's server, asked over openpi's protocol.

Such a server takes an observation and gives one chunk in physical units. It takes no noise, so that N candidates are N
requests; it gives no features; and it takes no chunk to go on from. Legend: N candidates, A action dims of the
contract.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.protocol import BackendError, FloatArray, Observation, PolicySpec
from vla_policy.core.published.mapping import ModelMapping, name_misfits, read_model_mapping
from vla_policy.core.remote.address import checked_address
from vla_policy.core.remote.answer import Answer, ask
from vla_policy.core.remote.codec import packed
from vla_policy.core.remote.connection import PolicyConnection
from vla_policy.core.remote.fit import fitted, probe_request
from vla_policy.core.remote.observation import ObservationMessage
from whetstone_common.core.reason import Reason


@dataclass(frozen=True, eq=False)
class RemoteContext:
    """An observation that is ready to be sent.

    Attributes:
        request: The message.
        shift: float32 [A] between the model's actions and the contract's.
    """

    request: bytes
    shift: FloatArray


class RemoteBackend:
    """Serves what a policy server answers.

    Args:
        connection: To the server; the backend closes it.
        mapping: What the model's numbers mean on this robot.
        joint_names: The robot's joints, the gripper last.
        deadline_s: For all chunks of an observation together.
        start_s: For the connection and the first answer, for which the server may compile its model.
        clock: Steady seconds.

    Raises:
        CheckpointError: Mapping, robot and server do not fit.
        UnavailableError: The server does not answer in time.
        BackendError: Its answer is no chunk.
    """

    def __init__(
        self,
        connection: PolicyConnection,
        mapping: ModelMapping,
        *,
        joint_names: tuple[str, ...] = (),
        deadline_s: float = 1.0,
        start_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self._deadline_s, self._clock = connection, deadline_s, clock
        self._newest: Answer | None = None
        self._message = ObservationMessage(mapping)
        if problems := name_misfits(mapping, joint_names):
            raise CheckpointError("; ".join(problems))
        began_s = clock()
        connection.wait(start_s)
        first = ask(connection, probe_request(mapping), start_s - (clock() - began_s))
        self._answer_shape = first.actions.shape
        self._adapter, self._spec = fitted(mapping, self._answer_shape, joint_names, connection.address)

    @classmethod
    def load(
        cls, address: str, *, mapping: str, joint_names: tuple[str, ...] = (), key: str = "", **options: Any
    ) -> RemoteBackend:
        """Connects, and asks once; see the class for `options`.

        Args:
            address: `ws://HOST:PORT` or `wss://HOST:PORT`.
            mapping: Mapping file.
            joint_names: The robot's joints, the gripper last.
            key: That the server asks for, empty for none.
            options: Further keyword arguments of the class.
        """
        read = read_model_mapping(Path(mapping).expanduser())
        connection = PolicyConnection(checked_address(address), key)
        try:
            return cls(connection, read, joint_names=joint_names, **options)
        except Exception:
            connection.close()
            raise

    @property
    def spec(self) -> PolicySpec:
        """What this policy takes and gives."""
        return self._spec

    def warmup(self) -> None:
        """Nothing to warm: the server has answered once."""

    def check_instruction(self, words: str) -> None:
        """Any text is sent; what the model makes of long ones is the server's business."""

    def outage(self) -> tuple[Reason, str] | None:
        """Why the server cannot be asked now, None while it can."""
        return self._connection.outage()

    def figures(self) -> Mapping[str, object]:
        """What diagnostics show of the server."""
        found: dict[str, object] = {"server_connections": self._connection.opened}
        if self._newest is not None:
            found |= {"round_trip_s": self._newest.round_trip_s, "server_s": self._newest.server_s}
        return found

    def close(self) -> None:
        """Leave the server."""
        self._connection.close()

    def prefix(self, observation: Observation) -> RemoteContext:
        """Makes the message."""
        self._spec.check(observation)
        state = self._adapter.state(observation.proprio)
        request = packed(self._message.of(observation, state))
        return RemoteContext(request, self._adapter.shift_at(observation.proprio))

    def features(self, context: RemoteContext) -> FloatArray:
        """None: float32 [0]."""
        return np.zeros(0, dtype=np.float32)

    def denoise(self, context: RemoteContext, noise: FloatArray, old: ChunkPrefix | None = None) -> FloatArray:
        """As many requests as there are noises; the server draws its own.

        Raises:
            UnavailableError: The server is lost, or not done by the deadline.
            BackendError: An answer is no chunk of the promised shape, or not finite.
        """
        if old is not None:
            raise BackendError("a policy server cannot go on from an old chunk")
        ends_s = self._clock() + self._deadline_s
        chunks = []
        for _ in range(len(noise)):
            self._newest = ask(self._connection, context.request, ends_s - self._clock())
            if self._newest.actions.shape != self._answer_shape:
                raise BackendError(
                    f"actions have the shape {self._newest.actions.shape}, the first answer had {self._answer_shape}"
                )
            chunks.append(self._newest.actions[: self._spec.horizon])
        order = self._adapter.action_order[: self._spec.action_dim]
        return self._adapter.to_contract(np.stack(chunks)[..., order], context.shift)
