# SPDX-License-Identifier: Apache-2.0
"""How another model gets into vla_node while it serves: loaded beside, tried, swapped between two requests."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from vla_interfaces.srv import LoadModel

from vla_policy.core.model_swap import ModelRefusedError, ServedModel
from whetstone_common.nodes.node import WhetstoneNode

_JOIN_TIMEOUT_S = 1.0

Wanted: TypeAlias = tuple[str, str]  # directory, SHA-256 of its weights


class ModelLoading:
    """Service `~/load_model`; whatever happens, the model that serves goes on serving.

    Args:
        node: That it works for.
        load: Loads and tries the model of a directory; runs in a thread of its own.
        served: The model that serves now.
        install: Puts a model in its place, between two requests; runs in that thread too.
    """

    def __init__(
        self,
        node: WhetstoneNode,
        load: Callable[[Path, str], ServedModel],
        served: Callable[[], ServedModel],
        install: Callable[[ServedModel], None],
    ) -> None:
        self._node, self._load, self._served, self._install = node, load, served, install
        self._before: ServedModel | None = None
        self._loading: Wanted | None = None
        self._refused: dict[Wanted, str] = {}
        self._is_closed = False
        self._queue: queue.SimpleQueue[Wanted | None] = queue.SimpleQueue()
        node.create_service(LoadModel, "~/load_model", self.on_load_model)
        self._thread = threading.Thread(target=self._work, name="model_loading", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; a model that is still being loaded will not serve."""
        self._is_closed = True
        self._queue.put(None)
        self._thread.join(_JOIN_TIMEOUT_S)

    def on_load_model(self, request: LoadModel.Request, response: LoadModel.Response) -> LoadModel.Response:
        """Begin to load, or say how far it is."""
        wanted = (request.directory, request.sha256)
        if not request.directory:
            self._go_back(response)
        elif self._serves(wanted):
            response.state = LoadModel.Response.SERVING
        elif self._loading is not None:
            is_it = self._loading == wanted
            response.state = LoadModel.Response.LOADING if is_it else LoadModel.Response.REFUSED
            response.message = "" if is_it else f"{self._loading[0]} is being loaded: ask again when it serves"
        elif wanted in self._refused:
            response.state, response.message = LoadModel.Response.REFUSED, self._refused.pop(wanted)
        else:
            self._loading = wanted
            self._queue.put(wanted)
            response.state = LoadModel.Response.LOADING
        response.success = response.state != LoadModel.Response.REFUSED
        response.sha256 = self._served().contract.weights_sha256
        return response

    def _serves(self, wanted: Wanted) -> bool:
        served = self._served()
        return bool(served.directory) and (served.directory, served.contract.weights_sha256) == wanted

    def _go_back(self, response: LoadModel.Response) -> None:
        if self._loading is not None:
            response.message = f"{self._loading[0]} is being loaded: ask again when it serves"
        elif self._before is None:
            response.message = "no model was served before this one"
        else:
            try:
                self._swap(self._before)
                response.state = LoadModel.Response.SERVING
            except ModelRefusedError as error:
                response.message = str(error)

    def _swap(self, new: ServedModel) -> None:
        before = self._served()
        self._install(new)
        self._before = before
        self._node.counters["models_swapped"] += 1

    # ---- in the thread ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (wanted := self._queue.get()) is not None:
            try:
                model = self._load(Path(wanted[0]), wanted[1])
                if not self._is_closed:
                    self._swap(model)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a new model, the old one serves
                self._refuse(wanted, error)
            finally:
                self._loading = None

    def _refuse(self, wanted: Wanted, error: Exception) -> None:
        kind = "" if isinstance(error, ModelRefusedError) else f"{type(error).__name__}: "
        self._refused[wanted] = f"{kind}{error}"
        self._node.counters["models_refused"] += 1
        if not self._is_closed:
            self._node.get_logger().warning(f"{wanted[0]} is not served: {self._refused[wanted]}")
