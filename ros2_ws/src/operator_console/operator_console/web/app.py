# SPDX-License-Identifier: Apache-2.0
"""The application behind the page: who is let in, pictures of cameras, the control connection."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Response, WebSocket, WebSocketDisconnect
from nicegui import Client, ui
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from operator_console.core.access import COOKIE, Access, Admission
from operator_console.core.page_message import PageMessageError, parse
from operator_console.core.playback import PlaybackError
from operator_console.web.interface import Console
from operator_console.web.page import build_page, viewer_name
from whetstone_common.core.pixels import ImageError

_STATIC = Path(__file__).with_name("static")
_REFUSED = {
    Admission.OTHER_SITE: b"403: this request is not from the console's own page",
    Admission.NEEDS_TOKEN: b"401: open the page with ?token=... once; the token is in the console's token_file",
}
_STATUS = {Admission.OTHER_SITE: 403, Admission.NEEDS_TOKEN: 401}
_POLICY_VIOLATION = 1008
# A page that a busy machine has kept waiting goes on; after this time it is loaded anew, and what was typed is lost.
# Who is in control does not hang on this: the control connection has a heartbeat of its own.
_RECONNECT_S = 30.0
_PNG = b"\x89PNG"


def build_app(console: Console) -> ASGIApp:
    """Application of a console, with its guard around it."""
    app = FastAPI(openapi_url=None)

    @app.get("/camera/{name}")
    async def camera(name: str) -> Response:
        try:
            picture = await run_in_threadpool(console.cameras.picture, name)
        except KeyError as error:
            raise HTTPException(404, f"no camera {name!r}") from error
        except ImageError as error:
            raise HTTPException(415, str(error)) from error
        if picture is None:
            return Response(status_code=204)
        return _picture_response(picture, "no-store")

    @app.get("/episode_picture")
    async def episode_picture(collection: str, name: str, camera: str, step: int) -> Response:
        try:
            picture = await run_in_threadpool(console.recordings.picture, collection, name, camera, step)
        except PlaybackError as error:
            raise HTTPException(404, str(error)) from error
        if picture is None:
            return Response(status_code=204)
        return _picture_response(picture, "private, max-age=600")

    @app.websocket("/control")
    async def control(socket: WebSocket) -> None:
        await _talk(console, socket)

    app.mount("/static_console", StaticFiles(directory=_STATIC))
    ui.run_with(
        app, root=lambda: build_page(console), title="Whetstone", show_welcome_message=False,
        reconnect_timeout=_RECONNECT_S,
    )  # fmt: skip
    return AccessGuard(app, console.access)


def _picture_response(picture: bytes, caching: str) -> Response:
    kind = "image/png" if picture.startswith(_PNG) else "image/jpeg"
    return Response(picture, media_type=kind, headers={"Cache-Control": caching})


async def _talk(console: Console, socket: WebSocket) -> None:
    """Hear a page until its connection ends; each message is answered with what it shows about control."""
    key = socket.query_params.get("client", "")
    if key not in Client.instances:
        await socket.close(_POLICY_VIOLATION, "this page is not known: reload it")
        return
    await socket.accept()
    viewer = viewer_name(Client.instances[key])
    connection = console.open_page(key, viewer)
    try:
        while True:
            text = await socket.receive_text()
            try:
                problem = console.hear(key, viewer, parse(text))
            except PageMessageError as error:
                problem = str(error)
            state = console.page_state(key)
            await socket.send_json({"problem": problem, **vars(state)})
    except (WebSocketDisconnect, RuntimeError):
        pass
    finally:
        console.close_page(key, connection)


class AccessGuard:
    """Lets in what the rules of access admit, before anything else sees it."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        """Guard `app`."""
        self.app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        in_address = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        admission = self._access.admit(
            host=headers.get("host", ""),
            origin=headers.get("origin"),
            tokens=[*in_address, *_token_of(headers.get("cookie", ""))],
        )
        if admission is not Admission.GRANTED:
            await _refuse(scope, send, admission)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                # No other site may show the page in a frame, and have its buttons clicked.
                added = [(b"x-frame-options", b"DENY"), (b"referrer-policy", b"no-referrer")]
                if in_address and self._access.token:
                    added.append((b"set-cookie", self._cookie()))
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self.app(scope, receive, answer)

    def _cookie(self) -> bytes:
        return f"{COOKIE}={self._access.token}; Path=/; HttpOnly; SameSite=Strict; Secure".encode()


def _token_of(cookies: str) -> list[str]:
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return []
    return [found.value] if found is not None else []


async def _refuse(scope: Scope, send: Send, admission: Admission) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    headers: list[Any] = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": _STATUS[admission], "headers": headers})
    await send({"type": "http.response.body", "body": _REFUSED[admission]})
