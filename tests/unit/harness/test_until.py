# SPDX-License-Identifier: Apache-2.0
"""Waiting with a deadline."""

from __future__ import annotations

import itertools

import pytest

from harness.until import NotReachedError, stays, until


def test_when_condition_comes_true_expect_its_value() -> None:
    values = itertools.chain([0, ""], itertools.repeat("ready"))
    assert until(lambda: next(values), 5.0) == "ready"


def test_when_deadline_passes_expect_error_that_names_the_condition() -> None:
    with pytest.raises(NotReachedError, match="arm is ready"):
        until(lambda: False, 0.02, "arm is ready")


def test_when_deadline_is_zero_expect_one_try() -> None:
    assert until(lambda: 1, 0.0) == 1


def test_when_condition_ceases_expect_stays_to_fail() -> None:
    values = itertools.chain([True, True], itertools.repeat(False))
    with pytest.raises(NotReachedError, match="no longer"):
        stays(lambda: next(values), 5.0)


def test_when_condition_lasts_expect_stays_to_return() -> None:
    stays(lambda: True, 0.03)
