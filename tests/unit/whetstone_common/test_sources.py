# SPDX-License-Identifier: Apache-2.0
"""One stream, one publisher."""

from __future__ import annotations

from whetstone_common.core.sources import UNKNOWN, Ownership, Source, identity_of

MS = 1_000_000
ONE, TWO = Source("1", "/one"), Source("2", "/two")


def test_when_one_publisher_speaks_expect_no_problem():
    owner = Ownership("camera front")
    assert not any(owner.problem(ONE, k * 10 * MS) for k in range(200))
    assert owner.conflict(2000 * MS) == ""


def test_when_both_speak_in_turn_expect_the_second_refused_and_the_conflict_shown_until_it_ends():
    owner = Ownership("camera front")
    for k in range(10):
        assert owner.problem(ONE, 2 * k * MS) == ""
        assert owner.problem(TWO, (2 * k + 1) * MS) == "camera front is published by /one and /two; stop one of them"
    assert "/one and /two" in owner.conflict(20 * MS)
    for k in range(200):
        assert owner.problem(ONE, 600 * MS + k * 10 * MS) == ""
    assert owner.conflict(2600 * MS) == ""


def test_when_a_node_publishes_twice_expect_it_said():
    owner = Ownership("camera front")
    owner.problem(ONE, 0)
    assert owner.problem(Source("9", "/one"), MS) == "camera front is published by /one twice; stop one of them"


def test_when_the_first_is_silent_expect_the_second_to_replace_it_without_a_conflict():
    owner = Ownership("camera front")
    owner.problem(ONE, 0)
    assert owner.problem(TWO, 499 * MS) != ""
    assert owner.problem(TWO, 501 * MS) == "" and owner.problem(TWO, 510 * MS) == ""
    assert owner.conflict(520 * MS) == ""
    assert owner.problem(ONE, 520 * MS) != ""


def test_when_the_middleware_does_not_say_who_publishes_expect_no_refusal():
    owner = Ownership("camera front")
    owner.problem(ONE, 0)
    assert owner.problem(UNKNOWN, MS) == "" and owner.conflict(2 * MS) == ""


def test_when_the_graph_pads_a_gid_expect_the_identity_that_its_messages_have():
    gid = bytes(range(1, 17))
    assert identity_of(gid) == identity_of(gid + bytes(8)) == gid.hex()
    assert identity_of(b"") == ""
