# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from fakes.threads import one_thread
from fakes.toy_vla import TINY, WORDS, toy_demo, toy_directory
from vla_policy.core.architecture import build_model, pocket_config
from vla_policy.core.backends.pocket import PocketBackend
from vla_policy.core.normalise import PolicyStats, Stats
from vla_policy.core.protocol import Observation


@pytest.fixture(autouse=True)
def on_one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="session")
def pocket_directory(tmp_path_factory):
    return toy_directory(tmp_path_factory.mktemp("pocket"))


@pytest.fixture
def pocket(pocket_directory):
    return PocketBackend.load(str(pocket_directory))


@pytest.fixture
def observation(pocket):
    rng = np.random.default_rng(5)
    images = {name: rng.integers(0, 256, (24, 24, 3)).astype(np.uint8) for name in pocket.spec.cameras}
    return Observation(images, toy_demo(0).proprio[3], WORDS[1])


@pytest.fixture
def noise(pocket):
    return np.random.default_rng(6).standard_normal((8, *pocket.spec.noise_shape)).astype(np.float32)


@pytest.fixture
def tiny_model():
    torch.manual_seed(0)
    model = build_model(pocket_config(TINY, 20)).eval()
    model.set_attn_implementation("eager")
    return model


@pytest.fixture
def tiny_stats():
    return PolicyStats(
        action=Stats((0.0,) * 7, (0.5,) * 7),
        proprio=Stats((0.0,) * 10, (1.0,) * 10),
        cameras=("front", "wrist"),
        dt_s=0.05,
        action_space="cartesian",
        instructions=WORDS,
    )
