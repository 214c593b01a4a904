# SPDX-License-Identifier: Apache-2.0
"""One connection to a policy server, kept open by a thread of its own; requests have a deadline.

The server sends its metadata first. Then each binary message is an observation, and each answer a binary message; an
answer of text is the traceback of an error. Messages have no numbers, so an answer that is late would be taken for
the next one: after a missed deadline the connection is given up and opened anew.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from vla_policy.core.protocol import BackendError, UnavailableError
from vla_policy.core.remote.codec import EncodingError, unpacked
from whetstone_common.core.reason import Reason

_OPEN_S = 10.0
_CLOSE_S = 0.5
_FIRST_DELAY_S, _MOST_DELAY_S = 0.1, 5.0
_MOST_BYTES = 16 << 20
_SLACK_S = 1.0  # the thread itself answers; this is for a machine that stalls
_SHOWN = 300


class PolicyConnection:
    """Connects, and connects again with growing delays whenever the server is gone.

    Args:
        address: `ws://` or `wss://`.
        key: Sent as openpi's client does, empty for none.

    Attributes:
        metadata: What the server said of itself at the first connection.
        opened: How many connections there were.
    """

    def __init__(self, address: str, key: str = "") -> None:
        self.address, self.opened = address, 0
        self.metadata: dict[str, Any] | None = None
        self._headers = {"Authorization": f"Api-Key {key}"} if key else None
        self._socket: ClientConnection | None = None
        self._outage = (Reason.MODEL_FAILURE, f"{address}: not connected yet")
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="policy_server", daemon=True)
        self._thread.start()

    def outage(self) -> tuple[Reason, str] | None:
        """Why the server cannot be asked now, None while it can."""
        return None if self._socket is not None else self._outage

    def wait(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the first connection; returns the server's metadata.

        Raises:
            UnavailableError: There is none in time; the text says why not.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._socket is not None, timeout_s) or self.metadata is None:
                reason, detail = self._outage
                raise UnavailableError(reason, f"{detail}; waited {timeout_s:g} s")
            return self.metadata

    def ask(self, request: bytes, timeout_s: float) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            UnavailableError: The server is not there, is lost, or is slower than that.
            BackendError: It answered with an error, or with something else than a message.
        """
        if not self._thread.is_alive():
            raise UnavailableError(Reason.MODEL_FAILURE, f"{self.address}: the connection was closed")
        future = asyncio.run_coroutine_threadsafe(self._ask(request, timeout_s), self._loop)
        try:
            answer = future.result(timeout_s + _SLACK_S)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            future.cancel()
            raise UnavailableError(Reason.MODEL_FAILURE, f"{self.address}: {_late(timeout_s)}") from None
        if isinstance(answer, str):
            raise BackendError(f"{self.address}: error in the server: {_last_line(answer)}")
        try:
            message = unpacked(answer)
        except EncodingError as error:
            raise BackendError(f"{self.address}: the answer {error}") from error
        if not isinstance(message, dict):
            raise BackendError(f"{self.address}: the answer is {type(message).__name__}, expected a map")
        return message

    def close(self) -> None:
        """Leave the server and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(2.0 * _CLOSE_S)

    # ---- in the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        keeper = self._loop.create_task(self._keep())
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(keeper, *tasks, return_exceptions=True))
        self._loop.close()

    async def _keep(self) -> None:
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                await self._stay()
            except UnavailableError as error:
                self._give_up(error.reason, error.detail)
            except Exception as error:  # noqa: BLE001 - whatever a connection dies of, the next one is opened
                self._give_up(Reason.MODEL_FAILURE, f"{self.address}: {_words(error)}")
            else:
                delay_s = _FIRST_DELAY_S
            await asyncio.sleep(delay_s)
            delay_s = min(2.0 * delay_s, _MOST_DELAY_S)

    async def _stay(self) -> None:
        """One connection, from its opening to its end."""
        # The server computes where it should answer pings, for minutes when it compiles: the connection would end.
        async with connect(
            self.address,
            compression=None,
            max_size=_MOST_BYTES,
            additional_headers=self._headers,
            open_timeout=_OPEN_S,
            close_timeout=_CLOSE_S,
            ping_interval=None,
        ) as socket:
            async with asyncio.timeout(_OPEN_S):
                self._greet(await socket.recv())
            with self._changed:
                self._socket, self.opened = socket, self.opened + 1
                self._changed.notify_all()
            await socket.wait_closed()
        if self._socket is socket:
            self._give_up(Reason.MODEL_FAILURE, f"{self.address}: connection lost")

    def _greet(self, first: bytes | str) -> None:
        message = None if isinstance(first, str) else unpacked(first)
        if not isinstance(message, dict):
            raise EncodingError("the first message is no map of metadata: this is no openpi policy server")
        if self.metadata is not None and not _same(message, self.metadata):
            raise UnavailableError(
                Reason.CONTRACT_MISMATCH,
                f"{self.address}: the server has come back with other metadata: it is another model, and its chunks"
                " are not played; restart vla_node to serve it",
            )
        self.metadata = message

    async def _ask(self, request: bytes, timeout_s: float) -> bytes | str:
        socket = self._socket
        if socket is None:
            raise UnavailableError(*self._outage)
        try:
            async with asyncio.timeout(timeout_s):
                await socket.send(request)
                return await socket.recv()
        except TimeoutError:
            self._give_up(Reason.MODEL_FAILURE, f"{self.address}: {_late(timeout_s)}, the connection is opened anew")
            socket.transport.abort()
        except ConnectionClosed as error:
            self._give_up(Reason.MODEL_FAILURE, f"{self.address}: {_words(error)}")
        raise UnavailableError(*self._outage)

    def _give_up(self, reason: Reason, detail: str) -> None:
        with self._changed:
            self._socket, self._outage = None, (reason, detail)


def _late(timeout_s: float) -> str:
    return f"no answer within {1e3 * timeout_s:.0f} ms"


def _words(error: BaseException) -> str:
    if isinstance(error, InvalidStatus):
        refused = " (the key of the server?)" if error.response.status_code in (401, 403) else ""
        return f"HTTP {error.response.status_code}{refused}"
    if isinstance(error, TimeoutError):
        return _late(_OPEN_S)
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionClosed):
        return f"connection lost ({error})"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _same(one: Any, other: Any) -> bool:
    """Whether two pieces of metadata say the same, arrays included."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if hasattr(one, "dtype") and hasattr(other, "dtype"):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    both_nan = one != one and other != other
    return type(one) is type(other) and (one == other or both_nan)


def _last_line(traceback: str) -> str:
    """What a traceback ends with: the error itself."""
    lines = [line for line in traceback.strip().splitlines() if line.strip()]
    return lines[-1][:_SHOWN] if lines else "no text"
