# SPDX-License-Identifier: Apache-2.0
import shutil

import numpy as np
import pytest

from vla_policy.core.backends.onnx import OnnxBackend, export_onnx
from vla_policy.core.backends.pocket import load_pocket
from vla_policy.core.files import CheckpointError


@pytest.fixture(scope="module")
def exported(pocket_directory, tmp_path_factory):
    from vla_policy.core.backends.pocket import PocketBackend

    out = tmp_path_factory.mktemp("onnx")
    spec = PocketBackend.load(str(pocket_directory)).spec
    export_onnx(load_pocket(pocket_directory), spec, pocket_directory, out, num_steps=4)
    return out


def test_when_exported_expect_the_same_chunks_and_features(exported, pocket, observation, noise):
    backend = OnnxBackend.load(str(exported), num_threads=1)
    ours, theirs = backend.prefix(observation), pocket.prefix(observation)
    for count in (1, 3, 8):
        assert np.abs(backend.denoise(ours, noise[:count]) - pocket.denoise(theirs, noise[:count])).max() < 1e-4
    assert np.abs(backend.features(ours) - pocket.features(theirs)).max() < 1e-4


def test_when_exported_expect_the_same_contract_but_for_the_name(exported, pocket):
    backend = OnnxBackend.load(str(exported), num_threads=1)
    assert backend.spec.model_id == "tiny-onnx"
    for name in ("cameras", "horizon", "action_scale", "action_offset", "feature_dim", "instructions"):
        assert getattr(backend.spec, name) == getattr(pocket.spec, name)
    backend.warmup()


def test_when_a_graph_was_altered_expect_refusal(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "m")
    (tmp_path / "m" / "denoise.onnx").write_bytes(b"")
    with pytest.raises(CheckpointError, match="SHA-256"):
        OnnxBackend.load(str(tmp_path / "m"))
