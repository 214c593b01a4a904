# SPDX-License-Identifier: Apache-2.0
"""Several observations in one pass give what each gives by itself, and a bad one spoils no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fakes.toy_vla import WORDS, toy_demo
from harness.published import checkpoint
from harness.published import observation as published_observation
from vla_policy.core.backends import load_backend
from vla_policy.core.backends.fake import FakeBackend
from vla_policy.core.batching import Draft, denoised, looked_at, together
from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.conditioning import Conditioning
from vla_policy.core.protocol import Observation, ObservationError
from vla_policy.core.serving import ModelError, checked_chunks, checked_features, draw_noise

KINDS = ("pocket", "pocket guided", "onnx", "onnx guided", "pi0", "fake")


def seen_by(backend, count):
    """Observations of several robots: other images, other states, other words."""
    spec = backend.spec
    if spec.joint_names:
        first = published_observation()
        return [replace(first, proprio=first.proprio + np.float32(0.1 * row)) for row in range(count)]
    rng = np.random.default_rng(5)
    size = (spec.image_height_px, spec.image_width_px, 3)
    return [
        Observation(
            {name: rng.integers(0, 256, size).astype(np.uint8) for name in spec.cameras},
            toy_demo(row).proprio[3 + row],
            WORDS[row % 2],
        )
        for row in range(count)
    ]


@pytest.fixture(params=KINDS)
def backend(request, pocket_directory, tmp_path, monkeypatch):
    """Every backend, those of the pocket VLA also with words that guide."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kind, _, guided = request.param.partition(" ")
    if kind == "fake":
        return FakeBackend.from_options({"pattern": "noise"})
    if kind == "pi0":
        return load_backend("pi0", str(checkpoint(tmp_path / "m")))
    served = load_backend(kind, str(pocket_directory), num_threads=1)
    served.conditioning = Conditioning("red cube", 2.0) if guided else None
    return served


@pytest.mark.parametrize("rtc", [False, True])
def test_when_robots_share_a_batch_expect_the_features_and_chunks_of_each_by_itself(backend, rtc):
    observations = seen_by(backend, 3)
    counts = (2, 2, 5)  # candidates; the third robot wants another number
    noises = [draw_noise(count, backend.spec, 7 + row, row) for row, count in enumerate(counts)]
    rows = np.random.default_rng(1).standard_normal((3, 6, backend.spec.action_dim)).astype(np.float32)
    olds = [ChunkPrefix(rows[row], 2 + row) if rtc and row != 1 else None for row in range(3)]

    looked = looked_at(backend, observations)
    drafts = [Draft(context, noise, old) for (context, _), noise, old in zip(looked, noises, olds, strict=True)]
    chunks = denoised(backend, drafts)
    for row, observation in enumerate(observations):
        context = backend.prefix(observation)
        np.testing.assert_allclose(looked[row][1], checked_features(backend, context), atol=1e-5)
        alone = checked_chunks(backend, context, noises[row], olds[row])
        np.testing.assert_allclose(chunks[row], alone, atol=2e-5, rtol=1e-5)


def test_when_one_observation_cannot_be_looked_at_expect_the_others_served():
    backend = FakeBackend.from_options({"max_words": 8})
    good, other = seen_by(backend, 2)
    good, other = (replace(each, instruction="go on") for each in (good, other))
    found = looked_at(backend, [good, replace(good, instruction="word " * 9), other])
    assert isinstance(found[1], ObservationError) and "9 words, at most 8" in str(found[1])
    assert found[0][0] is good and found[2][0] is other


class _SpoilsOne(FakeBackend):
    """Gives numbers that are not finite for one state."""

    def _pattern(self, noise):
        chunks = super()._pattern(noise)
        return np.where(noise[:, :, :7] > 100.0, np.nan, chunks).astype(np.float32)


def test_when_the_chunks_of_one_are_not_finite_expect_the_others_served():
    backend = _SpoilsOne()
    context = seen_by(backend, 1)[0]
    noises = [draw_noise(2, backend.spec, seed, 0) for seed in range(3)]
    noises[1][0, 0, 0] = 1000.0
    found = denoised(backend, [Draft(context, noise) for noise in noises])
    assert isinstance(found[1], ModelError) and found[0].shape == found[2].shape == (2, 16, 7)


def test_when_robots_want_other_numbers_of_candidates_expect_one_pass_for_each_number():
    backend = FakeBackend()
    context = seen_by(backend, 1)[0]
    drafts = [Draft(context, draw_noise(count, backend.spec, 0, 0)) for count in (1, 8, 1, 8)]
    assert [len(chunks) for chunks in denoised(backend, drafts)] == [1, 8, 1, 8]
    assert backend.denoise_calls == 2


def test_when_a_backend_takes_one_at_a_time_expect_all_served_one_by_one():
    class OneByOne:
        """A backend without batches."""

        def __init__(self):
            self._inner = FakeBackend.from_options({"pattern": "noise"})
            self.spec, self.features = self._inner.spec, self._inner.features
            self.prefix, self.denoise = self._inner.prefix, self._inner.denoise

    backend = OneByOne()
    observations = seen_by(backend, 3)
    noises = [draw_noise(2, backend.spec, seed, 0) for seed in range(3)]
    looked = looked_at(backend, observations)
    chunks = denoised(backend, [Draft(looked[row][0], noises[row]) for row in range(3)])
    assert all(np.array_equal(made, noise) for made, noise in zip(chunks, noises, strict=True))


def test_when_the_whole_fails_expect_each_tried_alone_and_a_single_one_not_again():
    tried: list[list[int]] = []

    def work(items):
        tried.append(list(items))
        if 2 in items:
            raise ValueError("two")
        return [10 * item for item in items]

    found = together(work, [1, 2, 3])
    assert found[0] == 10 and isinstance(found[1], ValueError) and found[2] == 30
    assert tried == [[1, 2, 3], [1], [2], [3]]
    tried.clear()
    assert isinstance(together(work, [2])[0], ValueError) and tried == [[2]]
