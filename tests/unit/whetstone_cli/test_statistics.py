# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone_cli.core.statistics import mcnemar, mean, median
from whetstone_common.core.success_rate import wilson


def test_when_8_of_10_expect_the_published_interval() -> None:
    rate = wilson(8, 10)
    assert (rate.low, rate.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_when_none_of_none_expect_no_knowledge() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_when_any_counts_expect_rate_inside_interval_inside_unit(counts: tuple[int, int]) -> None:
    rate = wilson(*counts)
    assert 0.0 <= rate.low <= rate.rate <= rate.high <= 1.0


@pytest.mark.parametrize(("successes", "episodes"), [(2, 1), (-1, 4)])
def test_when_counts_cannot_be_expect_refusal(successes: int, episodes: int) -> None:
    with pytest.raises(ValueError, match="episodes"):
        wilson(successes, episodes)


def test_when_nothing_was_measured_expect_none() -> None:
    assert mean([]) is None
    assert median([]) is None


def test_when_values_expect_mean_and_median() -> None:
    assert mean([1.0, 2.0, 6.0]) == 3.0
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.5


def test_when_policies_are_compared_expect_only_episodes_that_tell_them_apart_to_count() -> None:
    first = [True] * 5 + [False] * 10 + [True] * 1 + [False] * 4
    second = [True] * 5 + [True] * 10 + [False] * 1 + [False] * 4
    paired = mcnemar(first, second)
    assert (paired.both, paired.first_only, paired.second_only, paired.neither) == (5, 1, 10, 4)
    assert paired.p_value == pytest.approx(0.01171875)  # binomial, 1 or fewer of 11, two-sided


def test_when_nothing_tells_two_policies_apart_expect_no_evidence() -> None:
    assert mcnemar([True, False], [True, False]).p_value == 1.0
    assert mcnemar([True, False], [False, True]).p_value == 1.0
    with pytest.raises(ValueError, match="zip"):
        mcnemar([True], [])
