# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from vla_policy.core.backends import load_backend
from vla_policy.core.protocol import BackendError, Observation

NOISE = np.random.default_rng(0).standard_normal((3, 16, 7)).astype(np.float32)


def look(backend):
    size = backend.spec.image_height_px
    images = {name: np.zeros((size, size, 3), np.uint8) for name in backend.spec.cameras}
    return backend.prefix(Observation(images, np.arange(10, dtype=np.float32), "go"))


def test_when_told_a_constant_expect_it_everywhere():
    backend = load_backend("fake", pattern="constant", value=0.25)
    assert (backend.denoise(look(backend), NOISE) == np.float32(0.25)).all()


def test_when_told_to_echo_expect_the_noise():
    backend = load_backend("fake", pattern="noise")
    assert np.array_equal(backend.denoise(look(backend), NOISE), NOISE)


def test_when_asked_for_features_expect_the_promised_length():
    backend = load_backend("fake", feature_dim=20)
    features = backend.features(look(backend))
    assert features.shape == (20,)
    assert np.array_equal(features[:10], np.arange(10))


@pytest.mark.parametrize("fault", ["nan", "inf"])
def test_when_told_to_spoil_numbers_expect_it_after_the_given_calls(fault):
    backend = load_backend("fake", fault=fault, fault_after=1)
    context = look(backend)
    assert np.isfinite(backend.denoise(context, NOISE)).all()
    assert not np.isfinite(backend.denoise(context, NOISE)).all()


@pytest.mark.parametrize(("fault", "shape"), [("wrong_dims", (3, 16, 6)), ("wrong_horizon", (3, 15, 7))])
def test_when_told_to_lie_about_shapes_expect_another_shape(fault, shape):
    backend = load_backend("fake", fault=fault)
    assert backend.denoise(look(backend), NOISE).shape == shape


def test_when_told_to_raise_expect_a_backend_error_from_that_call():
    backend = load_backend("fake", fault="raise_denoise")
    context = look(backend)
    with pytest.raises(BackendError):
        backend.denoise(context, NOISE)
    backend.told(fault="raise_prefix")
    with pytest.raises(BackendError):
        look(backend)


@pytest.mark.parametrize("options", [{"fault": "explode"}, {"pattern": "square"}])
def test_when_told_an_unknown_word_expect_refusal(options):
    with pytest.raises(ValueError, match="allowed"):
        load_backend("fake", **options)


def test_when_the_backend_is_unknown_expect_the_known_ones_named():
    with pytest.raises(ValueError, match="pocket"):
        load_backend("gpt")
