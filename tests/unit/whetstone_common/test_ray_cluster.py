# SPDX-License-Identifier: Apache-2.0
"""What is said of an address of Ray before anything is started."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from whetstone_common.core.ray_cluster import check_address, connect, reason


@pytest.mark.parametrize("address", ["auto", "local", "10.0.0.1:6379", "head.lab:6379"])
def test_when_an_address_can_be_one_expect_nothing_said(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("address", ["", "head", "head:", ":6379", "head:port", "ray://head:10001"])
def test_when_an_address_cannot_be_one_expect_what_is_allowed(address: str) -> None:
    with pytest.raises(ValueError, match="expected auto, local or HOST:PORT"):
        check_address(address)


def test_when_ray_is_missing_expect_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else found(name))
    with pytest.raises(RuntimeError, match=r"Ray is not installed: `pip install .*interop\.lock`"):
        connect("local")


def test_when_nothing_answers_expect_a_sentence_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(RuntimeError, match=rf"no Ray at '{address}' \(.*refused\); start one with `ray start --head`"):
        connect(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(RuntimeError, match=rf"no Ray at '{address}'"):
        connect("auto")


def test_when_ray_guesses_at_causes_expect_only_what_happened() -> None:
    error = RuntimeError("The actor died.\n\tpid: 7\nIts process died. End of file. Some common causes include: (1)")
    assert reason(error) == "Its process died. End of file."
