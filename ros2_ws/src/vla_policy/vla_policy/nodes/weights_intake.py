# SPDX-License-Identifier: Apache-2.0
"""How weights get into steering_node: pieces in, verified in a thread of their own, answered with a reason."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from vla_interfaces.msg import PolicyWeights
from vla_interfaces.srv import PinPolicy

from rl_methods.base import LearnedPolicy, ValidationContext
from rl_methods.common.weights import MAX_PIECES, Assembler, PolicyManifest, WeightsError
from vla_policy.core.steering.weight_store import WeightStore
from vla_policy.nodes.followed_publisher import FollowedPublisher
from vla_policy.nodes.weights_answers import WeightsAnswers
from vla_policy.nodes.weights_wire import read_key, to_manifest
from whetstone_common.core.reason import Reason
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.sources import with_source

_TOPIC = "policy_weights"
_RETRY_PERIOD_S = 1.0
_JOIN_TIMEOUT_S = 1.0
_MIB = 1 << 20


@dataclass(frozen=True, eq=False)
class Piece:
    """One message, and who sent it."""

    source: bytes
    msg: PolicyWeights


class WeightsIntake:
    """Receives, verifies and swaps weights for a learned method; whatever happens, those that decide go on deciding.

    Args:
        node: That it works for.
        method: Whose weights they are.
        context: What a set is tried on now; None while the contract is not known.
        changed: Called when the status may read differently.
    """

    def __init__(
        self,
        node: WhetstoneNode,
        method: LearnedPolicy,
        context: Callable[[], ValidationContext | None],
        changed: Callable[[], None],
    ) -> None:
        torch.set_num_threads(1)  # small networks: a second thread costs more than it gives
        self._node, self._context, self._changed = node, context, changed
        key = read_key(node.param("weights_key_file"))
        self._publisher = FollowedPublisher(node, _TOPIC, is_signed=bool(key))
        self.store = WeightStore(method, node.param("method"), node.param("run"), key)
        self._assembler = Assembler(node.param("max_weights_mib") * _MIB)
        self._answers = WeightsAnswers(node)
        self._waiting: deque[Piece] = deque(maxlen=MAX_PIECES)
        self._queue: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        node.create_subscription(PolicyWeights, _TOPIC, with_source(self.on_weights), qos.WEIGHTS)
        node.create_service(PinPolicy, "~/pin_policy", self.on_pin)
        node.create_steady_timer(_RETRY_PERIOD_S, self.retry)
        self._handle = node.guarded(self.handle)
        self._thread = threading.Thread(target=self._work, name="weights", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._queue.put(None)
        self._thread.join(_JOIN_TIMEOUT_S)

    def status(self) -> tuple[Reason, str]:
        """What decides, and what was refused since."""
        if self._answers.alarm is None:
            return Reason.NONE, self.store.description()
        reason, text = self._answers.alarm
        return reason, f"{self.store.description()}; {text}"

    # ---- callbacks: short ------------------------------------------------------------------------------------------

    def on_weights(self, msg: PolicyWeights, source: bytes) -> None:
        """Hand a piece to the thread, or keep it until it can be judged."""
        if self._context() is None:
            self._waiting.append(Piece(source, msg))
        elif self._publisher.is_foreign(source):
            self._waiting.append(Piece(source, msg))
            self._refuse(to_manifest(msg), WeightsError("source", "another publisher of weights is followed"))
        else:
            self._queue.put(Piece(source, msg))

    def retry(self) -> None:
        """Take up what waited: the contract is known now, or the publisher that was followed is gone."""
        if self._waiting and self._context() is not None and not self._publisher.is_foreign(self._waiting[-1].source):
            waiting, newest = list(self._waiting), self._waiting[-1].source
            self._waiting.clear()
            for piece in waiting:
                if piece.source == newest or not self._publisher.is_foreign(piece.source):
                    self._queue.put(piece)

    def on_pin(self, request: PinPolicy.Request, response: PinPolicy.Response) -> PinPolicy.Response:
        """Go back to a version that was accepted, or follow the newest again."""
        try:
            self.store.pin(request.version)
            response.success = True
        except ValueError as error:
            response.message = str(error)
        response.version = self.store.version
        self._changed()
        return response

    # ---- in the thread ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (piece := self._queue.get()) is not None:
            self._handle(piece)

    def handle(self, piece: Piece) -> None:
        """Put a piece to its set; verify, try and swap the set when it is whole."""
        msg, context = piece.msg, self._context()
        if context is None:
            return
        manifest = to_manifest(msg)
        try:
            data = self._assembler.offer(manifest, msg.piece, msg.pieces, bytes(msg.data))
            if data is None:
                return
            if not self.store.holds(manifest):
                self.store.take(self.store.check(manifest, data, context))
                self._node.counters["weights_accepted"] += 1
                self._publisher.follow(piece.source)
                self._answers.alarm = None
                self._changed()
            self._answers.acknowledge(manifest)
        except WeightsError as error:
            self._refuse(manifest, error)

    def _refuse(self, manifest: PolicyManifest, error: WeightsError) -> None:
        if self._answers.refuse(manifest, error):
            self._changed()
