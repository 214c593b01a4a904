# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from vla_policy.core.normalise import STD_FLOOR, PolicyStats, Stats


def test_when_normalised_and_back_expect_the_same_numbers():
    samples = np.random.default_rng(0).normal(3.0, 2.0, (500, 7)).astype(np.float32)
    stats = Stats.of(samples)
    assert np.allclose(stats.denormalise(stats.normalise(samples)), samples, atol=1e-5)


def test_when_samples_vary_expect_zero_mean_and_unit_spread():
    stats = Stats.of(samples := np.random.default_rng(1).normal(-1.0, 0.3, (2000, 2)))
    normal = stats.normalise(samples)
    assert np.allclose(normal.mean(0), 0.0, atol=1e-5)
    assert np.allclose(normal.std(0), 1.0, atol=1e-5)


def test_when_a_dimension_hardly_moves_expect_the_floor_and_not_an_explosion():
    samples = np.zeros((100, 2))
    samples[:, 1] = np.random.default_rng(2).normal(0.0, 1e-6, 100)
    stats = Stats.of(samples)
    assert stats.std == (STD_FLOOR, STD_FLOOR)
    assert np.abs(stats.normalise(samples)).max() < 1e-3


@pytest.mark.parametrize(
    ("mean", "std"),
    [((0.0,), (0.0,)), ((0.0,), (-1.0,)), ((float("nan"),), (1.0,)), ((0.0,), (float("inf"),)), ((0.0, 1.0), (1.0,))],
)
def test_when_statistics_cannot_normalise_expect_refusal(mean, std):
    with pytest.raises(ValueError):  # noqa: PT011
        Stats(mean, std)


def test_when_samples_are_not_finite_expect_refusal():
    with pytest.raises(ValueError, match="finite"):
        Stats.of(np.array([[1.0], [np.nan]]))


def test_when_saved_and_loaded_expect_equal_statistics(tiny_stats, tmp_path):
    tiny_stats.save(tmp_path / "stats.json")
    assert PolicyStats.load(tmp_path / "stats.json") == tiny_stats


def test_when_the_file_has_an_unknown_key_expect_refusal(tiny_stats, tmp_path):
    tiny_stats.save(path := tmp_path / "stats.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantile": 1}))
    with pytest.raises(ValueError, match=r"stats\.json: the key quantile is unknown"):
        PolicyStats.load(path)
