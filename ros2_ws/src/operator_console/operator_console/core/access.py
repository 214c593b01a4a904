# SPDX-License-Identifier: Apache-2.0
"""Who may talk to the console: where it listens, what a request must carry.

On the local machine the page is open to every user of that machine. From a network it needs a token and TLS. In both
cases a request must be meant for this server (`Host`) and come from its own page (`Origin`): a page of another site in
the same browser may not command the robot (cross-site WebSocket hijacking, DNS rebinding).
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

MIN_TOKEN_CHARACTERS = 16
COOKIE = "whetstone_console"


class AccessError(ValueError):
    """The console must not listen as it is told to; the text says what is missing."""


class Admission(Enum):
    """What becomes of a request."""

    GRANTED = "granted"
    NEEDS_TOKEN = "needs_token"  # noqa: S105 - a state, no secret
    OTHER_SITE = "other_site"


def is_loopback(host: str) -> bool:
    """Whether a host can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Access:
    """Rules of one server.

    Attributes:
        host: Address it listens on.
        port: TCP port.
        token: That a request must carry; empty on the local machine alone.
        is_encrypted: Whether it speaks TLS.
        names: Further host names under which it may be called, such as the machine's own.
    """

    host: str
    port: int
    token: str = ""
    is_encrypted: bool = False
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse to be open to a network.

        Raises:
            AccessError: Another host than this one, without token or without TLS; or a token that can be guessed.
        """
        if self.token and len(self.token) < MIN_TOKEN_CHARACTERS:
            raise AccessError(
                f"the token has {len(self.token)} characters, at least {MIN_TOKEN_CHARACTERS} are needed: "
                "make one with `openssl rand -hex 16`"
            )
        if is_loopback(self.host):
            return
        missing = [] if self.token else ["token_file"]
        missing += [] if self.is_encrypted else ["tls_cert and tls_key"]
        if missing:
            raise AccessError(
                f"host is {self.host!r}: others could move the robot from the network. "
                f"Set {' and '.join(missing)}, or use 127.0.0.1 (the default)"
            )

    @property
    def url(self) -> str:
        """Where a person on this machine opens the page."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound to
        return f"{'https' if self.is_encrypted else 'http'}://{_bracketed(host)}:{self.port}/"

    def admit(self, *, host: str, origin: str | None, tokens: Iterable[str]) -> Admission:
        """Judge a request.

        Args:
            host: Its header `Host`.
            origin: Its header `Origin`, None when the browser sends none (a page that is opened).
            tokens: What it carries as token: by cookie, or in the address of its first request.
        """
        if host not in self._hosts():
            return Admission.OTHER_SITE
        scheme = "https" if self.is_encrypted else "http"
        if origin is not None and origin != f"{scheme}://{host}":
            return Admission.OTHER_SITE
        if self.token and not any(hmac.compare_digest(given.encode(), self.token.encode()) for given in tokens):
            return Admission.NEEDS_TOKEN
        return Admission.GRANTED

    def _hosts(self) -> set[str]:
        names = {self.host, *self.names, "localhost", "127.0.0.1", "::1"}
        default = 443 if self.is_encrypted else 80
        hosts = {f"{_bracketed(name)}:{self.port}" for name in names}
        return hosts | ({_bracketed(name) for name in names} if self.port == default else set())


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
