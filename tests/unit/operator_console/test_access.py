# SPDX-License-Identifier: Apache-2.0
"""Who may talk to the console."""

from __future__ import annotations

import pytest

from operator_console.core.access import Access, AccessError, Admission

TOKEN = "0123456789abcdef"
LOCAL = Access("127.0.0.1", 8600)
NETWORK = Access("0.0.0.0", 8600, TOKEN, is_encrypted=True, names=("robot.lab",))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.5"])
def test_when_the_host_is_this_machine_expect_no_token_is_needed(host: str) -> None:
    assert Access(host, 8600).token == ""


@pytest.mark.parametrize(
    ("token", "is_encrypted", "missing"),
    [("", False, "token_file and tls_cert"), (TOKEN, False, "tls_cert and tls_key"), ("", True, "token_file")],
)
@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.4", "robot.lab", "::"])
def test_when_a_network_could_reach_it_without_token_or_tls_expect_a_refusal_that_names_what_is_missing(
    host: str, token: str, is_encrypted: bool, missing: str
) -> None:
    with pytest.raises(AccessError, match=missing):
        Access(host, 8600, token, is_encrypted=is_encrypted)


def test_when_the_token_can_be_guessed_expect_a_refusal() -> None:
    with pytest.raises(AccessError, match="15 characters, at least 16"):
        Access("127.0.0.1", 8600, TOKEN[1:])


@pytest.mark.parametrize(
    ("host", "origin", "admission"),
    [
        ("127.0.0.1:8600", None, Admission.GRANTED),
        ("localhost:8600", "http://localhost:8600", Admission.GRANTED),
        ("127.0.0.1:8600", "http://127.0.0.1:8600", Admission.GRANTED),
        ("127.0.0.1:8600", "http://evil.example", Admission.OTHER_SITE),
        ("127.0.0.1:8600", "http://127.0.0.1:9999", Admission.OTHER_SITE),
        ("127.0.0.1:8600", "https://127.0.0.1:8600", Admission.OTHER_SITE),
        ("127.0.0.1:8600", "null", Admission.OTHER_SITE),
        ("evil.example:8600", None, Admission.OTHER_SITE),
        ("evil.example:8600", "http://evil.example:8600", Admission.OTHER_SITE),
        ("127.0.0.1", None, Admission.OTHER_SITE),
        ("", None, Admission.OTHER_SITE),
    ],
)
def test_when_a_request_is_not_from_the_own_page_expect_it_is_refused(
    host: str, origin: str | None, admission: Admission
) -> None:
    assert LOCAL.admit(host=host, origin=origin, tokens=[]) is admission


@pytest.mark.parametrize(
    ("tokens", "admission"),
    [([], Admission.NEEDS_TOKEN), (["", "x"], Admission.NEEDS_TOKEN), (["x", TOKEN], Admission.GRANTED)],
)
def test_when_a_token_is_set_expect_only_who_carries_it(tokens: list[str], admission: Admission) -> None:
    assert NETWORK.admit(host="robot.lab:8600", origin="https://robot.lab:8600", tokens=tokens) is admission


def test_when_the_token_is_right_but_the_page_is_another_expect_a_refusal() -> None:
    assert NETWORK.admit(host="robot.lab:8600", origin="https://evil", tokens=[TOKEN]) is Admission.OTHER_SITE


def test_when_it_listens_everywhere_expect_a_url_that_a_person_can_open() -> None:
    assert NETWORK.url == "https://127.0.0.1:8600/"
    assert Access("::1", 8600).url == "http://[::1]:8600/"
