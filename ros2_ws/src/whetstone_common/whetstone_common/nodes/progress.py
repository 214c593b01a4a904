# SPDX-License-Identifier: Apache-2.0
"""What a node does while it is busy for seconds, in its status."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from whetstone_common.core.reason import Reason, State

if TYPE_CHECKING:
    from whetstone_common.nodes.node import WhetstoneNode

_TICK_S = 1.0
_LOG_EVERY = 10  # ticks


class Progress:
    """Context of long work in a callback or hook; shows each step with the seconds that it has taken so far.

    The executor cannot turn meanwhile, so a thread of its own keeps the status fresh: a node that loads is not silent.
    """

    def __init__(self, node: WhetstoneNode, state: State = State.STARTING) -> None:
        """Prepare.

        Args:
            node: Whose status is set.
            state: State that the node has while it works.
        """
        self._node = node
        self._state = state
        self._lock = threading.Lock()
        self._step, self._began_s, self._ticks = "", 0.0, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        """Begin to tick."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tick no more, so that the next state of the node stays."""
        self._done.set()
        self._thread.join()

    def begin(self, step: str) -> None:
        """Begin a step.

        Args:
            step: What is done, as in "loading model".
        """
        with self._lock:
            self._step, self._began_s, self._ticks = step, time.monotonic(), 0
            self._node.set_state(self._state, Reason.NONE, step)

    def _tick(self) -> None:
        while not self._done.wait(_TICK_S):
            with self._lock:
                if not self._step:
                    continue
                self._ticks += 1
                text = f"{self._step} ({time.monotonic() - self._began_s:.0f} s)"
                self._node.set_state(self._state, Reason.NONE, text, is_logged=self._ticks % _LOG_EVERY == 0)
