# SPDX-License-Identifier: Apache-2.0
"""Namespaces as people write them."""

from __future__ import annotations

import pytest

from whetstone_common.core.namespace import NamespaceError, absolute_namespace, without_namespace


@pytest.mark.parametrize(
    ("text", "namespace"),
    [("", ""), ("/", ""), ("left", "/left"), ("/left/", "/left"), ("cell_1/left", "/cell_1/left")],
)
def test_when_a_namespace_is_written_in_any_way_expect_the_one_that_names_begin_with(text: str, namespace: str):
    assert absolute_namespace(text) == namespace


@pytest.mark.parametrize("text", ["2left", "left arm", "left//arm", "a__b", "links-arm", "left:=x", "~"])
def test_when_ros_would_not_take_it_expect_refusal_that_names_it(text: str):
    with pytest.raises(NamespaceError, match="is not allowed"):
        absolute_namespace(text)


@pytest.mark.parametrize(
    ("name", "namespace", "expected"),
    [
        ("/left/executed", "/left", "/executed"),
        ("/left/executed", "/", "/left/executed"),
        ("/lefty/executed", "/left", "/lefty/executed"),
        ("/estop", "/left", "/estop"),
    ],
)
def test_when_a_name_is_inside_a_namespace_expect_it_as_it_is_without_one(name: str, namespace: str, expected: str):
    assert without_namespace(name, namespace) == expected
