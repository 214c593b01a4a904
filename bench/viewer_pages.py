# SPDX-License-Identifier: Apache-2.0
"""So many viewers of a console, as their browsers speak to it: page, updates, control connection, pictures.

`viewer_pages.py http://127.0.0.1:8600 20` prints `open` when all of them are connected, and goes on until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import uuid
from urllib.parse import urlencode

import aiohttp
import socketio

_PICTURE_S, _BEAT_S = 0.2, 0.25
_CAMERAS = ("front", "wrist")
_BEAT = json.dumps({"request": "beat", "keys": [], "pad": None})


async def view(http: aiohttp.ClientSession, url: str, connected: asyncio.Semaphore) -> None:
    """Be one viewer."""
    async with http.get(url) as answer:
        page = await answer.text()
    client = _client_of(page)
    updates = socketio.AsyncClient(http_session=http, reconnection=False)
    named = {
        "client_id": client, "tab_id": str(uuid.uuid4()), "document_id": str(uuid.uuid4()),
        "next_message_id": 0, "implicit_handshake": "true",
    }  # fmt: skip
    query = urlencode(named)
    await updates.connect(f"{url}?{query}", socketio_path="_nicegui_ws/socket.io", transports=["websocket"])
    async with http.ws_connect(f"{url}/control?client={client}") as control:
        connected.release()
        await asyncio.gather(_beat(control), *(_look(http, f"{url}/camera/{name}") for name in _CAMERAS))


def _client_of(page: str) -> str:
    found = re.search(r'name="?whetstone-client"? content="?([0-9a-f-]+)', page)
    if found is None:
        raise ValueError("the page does not name its client: is this a console?")
    return found.group(1)


async def _beat(control: aiohttp.ClientWebSocketResponse) -> None:
    while True:
        await control.send_str(_BEAT)
        await control.receive_json()
        await asyncio.sleep(_BEAT_S)


async def _look(http: aiohttp.ClientSession, url: str) -> None:
    while True:
        async with http.get(url) as answer:
            await answer.read()
        await asyncio.sleep(_PICTURE_S)


async def main(url: str, count: int) -> None:
    """Be all of them."""
    connected = asyncio.Semaphore(0)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        viewers = asyncio.gather(*(view(http, url, connected) for _ in range(count)))
        waiting = asyncio.ensure_future(_all(connected, count))
        await asyncio.wait([viewers, waiting], return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            print("open", flush=True)
        await viewers


async def _all(connected: asyncio.Semaphore, count: int) -> None:
    for _ in range(count):
        await connected.acquire()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1].rstrip("/"), int(sys.argv[2])))
