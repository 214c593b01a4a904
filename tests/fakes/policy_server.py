# SPDX-License-Identifier: Apache-2.0
"""A policy server as openpi's `scripts/serve_policy.py` starts one: its protocol, and the encoding of its own package.

    python -m fakes.policy_server PORT still|pocket

Like openpi's it computes where it should answer pings, and sends a traceback as text when the policy fails and closes.
"""

from __future__ import annotations

import asyncio
import http
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from openpi_client import msgpack_numpy
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

Policy = Callable[[dict[str, Any]], Any]


class PolicyServer:
    """Serves a policy in a thread of its own.

    Args:
        policy: Observation to answer: a map, or bytes or text that are sent as they are.
        metadata: Sent at the beginning of each connection; bytes or text as they are.
        port: To listen on, 0 for one that is free.
        key: That a client must send, empty for none.
    """

    def __init__(self, policy: Policy, metadata: Any = None, *, port: int = 0, key: str = "", ssl: Any = None) -> None:
        self.policy, self.metadata, self.port, self.key = policy, metadata or {}, port, key
        self.observations: list[dict[str, Any]] = []
        self._ssl = ssl
        self._loop = asyncio.new_event_loop()
        self._server: Server | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="policy_server", daemon=True)
        self._thread.start()
        assert self._started.wait(10.0), "the server does not listen"

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{'ws' if self._ssl is None else 'wss'}://localhost:{self.port}"

    def close(self) -> None:
        """Leave all clients, without a word, and stop to listen."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._started.set()
        self._loop.run_forever()
        assert self._server is not None
        for connection in self._server.connections:
            connection.transport.abort()
        self._server.close(close_connections=False)
        self._loop.run_until_complete(asyncio.sleep(0))
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await serve(
            self._handle,
            "localhost",
            self.port,
            compression=None,
            max_size=None,
            process_request=self._admit,
            ssl=self._ssl,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.key and request.headers.get("Authorization") != f"Api-Key {self.key}":
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "no key\n")
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        await connection.send(_message(self.metadata))
        while True:
            try:
                observation = msgpack_numpy.unpackb(await connection.recv())
                self.observations.append(observation)
                began_s = time.monotonic()
                answer = self.policy(observation)
                if isinstance(answer, dict):
                    answer = answer | {"server_timing": {"infer_ms": 1e3 * (time.monotonic() - began_s)}}
                await connection.send(_message(answer))
            except ConnectionClosed:
                return
            except Exception:  # noqa: BLE001 - as openpi's does
                await connection.send(traceback.format_exc())
                await connection.close(code=1011, reason="internal error")
                return


def _message(content: Any) -> bytes | str:
    return content if isinstance(content, bytes | str) else msgpack_numpy.packb(content)


def still(horizon: int = 16, dims: int = 7) -> Policy:
    """Does not move, and leaves the gripper half open."""
    actions = np.zeros((horizon, dims))
    actions[:, -1] = 0.5
    return lambda _observation: {"actions": actions}


def pocket() -> Policy:
    """The shipped pocket VLA behind the names `front`, `wrist`, `state` and `prompt`, in physical units."""
    from vla_policy.core.backends import load_backend
    from vla_policy.core.protocol import Observation
    from vla_policy.core.serving import draw_noise
    from whetstone_common.nodes.resources import find

    backend = load_backend("onnx", str(find("package://vla_policy/models/pocket")), num_threads=1)
    backend.warmup()
    count = iter(range(1 << 62))

    def infer(observation: dict[str, Any]) -> dict[str, Any]:
        seen = Observation(
            {name: observation[name] for name in backend.spec.cameras}, observation["state"], observation["prompt"]
        )
        context = backend.prefix(seen)
        chunks = backend.denoise(context, draw_noise(1, backend.spec, 0, next(count)))
        return {"actions": backend.spec.denormalise(chunks)[0]}

    return infer


def mapping_text(size_px: int = 96, more: str = "") -> str:
    """A mapping file for the simulated arm with Cartesian actions, and for the names of `pocket`."""
    metres = "".join(f"  - {{name: tcp_{axis}_m, unit: m}}\n" for axis in "xyz")
    turns = "".join(f"  - {{name: tcp_r{row}{column}}}\n" for column in (1, 2) for row in (1, 2, 3))
    moves = "".join(f"  - {{name: d{axis}_m, unit: m}}\n" for axis in "xyz")
    moves += "".join(f"  - {{name: r{axis}_rad, unit: rad}}\n" for axis in "xyz")
    gripper = "  - {name: gripper, unit: opening}\n"
    return (
        f"action_space: cartesian\nactions: relative\ndt_s: 0.05\n{more}cameras: {{front: front, wrist: wrist}}\n"
        f"server: {{state: {{state: 10}}, image_size_px: {size_px}}}\n"
        f"state:\n{metres}{turns}{gripper}action:\n{moves}{gripper}"
    )


def write_mapping(folder: Path, **changes: Any) -> Path:
    """The mapping as a file."""
    path = folder / "mapping.yaml"
    path.write_text(mapping_text(**changes), encoding="utf-8")
    return path


if __name__ == "__main__":
    server = PolicyServer({"still": still, "pocket": pocket}[sys.argv[2]](), port=int(sys.argv[1]))
    print(f"listening on {server.port}", flush=True)
    threading.Event().wait()
