# SPDX-License-Identifier: Apache-2.0
"""The web server in a thread of its own: it ends with its node, and its failure is the node's."""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
from pathlib import Path
from typing import Any

import uvicorn

from operator_console.core.access import Access
from operator_console.web.app import build_app
from operator_console.web.interface import Console

_CLOSE_S = 1.0
_BACKLOG = 32
# Frames of the control connection are small; anything larger is none of ours, or a page that NiceGUI speaks to.
_MAX_FRAME_BYTES = 1_000_000
# A NiceGUI application belongs to its process.
_app_of: Any = functools.cache(build_app)


class WebServer:
    """Serves the pages of a console.

    Args:
        console: The node.
        access: Where to listen and who may come.
        tls_cert: PEM file, empty for plain HTTP.
        tls_key: PEM file of its key.

    Raises:
        OSError: The address cannot be used, or a TLS file not be read.
    """

    def __init__(self, console: Console, access: Access, tls_cert: str, tls_key: str) -> None:
        for path in filter(None, (tls_cert, tls_key)):
            Path(path).read_bytes()
        family = socket.AF_INET6 if ":" in access.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((access.host, access.port))
        except OSError:
            self._socket.close()
            raise
        config = uvicorn.Config(
            _app_of(console),
            log_level="warning",
            ssl_certfile=tls_cert or None,
            ssl_keyfile=tls_key or None,
            backlog=_BACKLOG,
            ws_max_size=_MAX_FRAME_BYTES,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="web_server", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def close(self) -> None:
        """Ask the server to end, and wait a moment for it."""
        self._server.should_exit = True
        self._thread.join(_CLOSE_S)
        self._socket.close()
