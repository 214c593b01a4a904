# SPDX-License-Identifier: Apache-2.0
"""Where a policy server is, and the key that it may ask for; a key is never part of the address, which is logged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

KEY_VARIABLE = "WHETSTONE_REMOTE_API_KEY"
_SCHEMES = ("ws", "wss")
_MOST_CHARACTERS = 4096


class AddressError(ValueError):
    """An address or a key that cannot be used; the text says what is expected."""


def checked_address(address: str) -> str:
    """An address as it is given.

    Raises:
        AddressError: It is no `ws://` or `wss://` address of a host, or carries a secret.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressError(f"remote = {address!r}: {error}") from error
    if parts.username or parts.password or parts.query or parts.fragment:
        # Not repeated: it may hold the secret.
        raise AddressError(
            f"remote has more than host, port and path, and addresses are logged: a key belongs into {KEY_VARIABLE} or"
            " into the file remote_api_key_file"
        )
    if parts.scheme not in _SCHEMES or not host or port == 0:
        raise AddressError(f"remote = {address!r}: expected ws://HOST:PORT or wss://HOST:PORT")
    return address


def is_address(name: str) -> bool:
    """Whether a name is that of a server rather than of a directory."""
    return name.startswith(tuple(f"{scheme}://" for scheme in _SCHEMES))


def short_name(address: str) -> str:
    """Host and port, for reports."""
    return urlsplit(address).netloc


def api_key(file: str, environment: Mapping[str, str]) -> str:
    """The key of a server, empty for none.

    Args:
        file: That holds it and nothing else; empty for the environment's.
        environment: Variables by name, of which `KEY_VARIABLE` is read.

    Raises:
        AddressError: The file cannot be read, or what is there is no key; the key itself is not told.
    """
    where = f"the file {file}" if file else KEY_VARIABLE
    try:
        key = Path(file).expanduser().read_text(encoding="utf-8") if file else environment.get(KEY_VARIABLE, "")
    except (OSError, UnicodeDecodeError) as error:
        raise AddressError(
            f"remote_api_key_file = {file!r}: {getattr(error, 'strerror', None) or 'no text'}"
        ) from error
    key = key.strip()
    is_plain = key.isascii() and key.isprintable() and " " not in key
    if (file and not key) or not is_plain or len(key) > _MOST_CHARACTERS:
        raise AddressError(f"{where} holds no key: expected one word of at most {_MOST_CHARACTERS} plain characters")
    return key
