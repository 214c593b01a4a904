# SPDX-License-Identifier: Apache-2.0
import json
import shutil

import numpy as np
import pytest
import torch

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends import load_backend
from vla_policy.core.backends.onnx import OnnxBackend
from vla_policy.core.backends.onnx_cache import exported as kept_export
from vla_policy.core.backends.onnx_export import export_onnx
from vla_policy.core.backends.pocket import load_pocket
from vla_policy.core.files import write_manifest
from vla_policy.nodes.backends import check_dtype
from whetstone_common.core.parameters import ParameterError


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
    for name in ("cameras", "horizon", "action_scale", "action_offset", "feature_dim", "instructions", "readout_names"):
        assert getattr(backend.spec, name) == getattr(pocket.spec, name)
    backend.warmup()


def test_when_a_graph_was_altered_expect_refusal(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "m")
    (tmp_path / "m" / "denoise.onnx").write_bytes(b"")
    with pytest.raises(CheckpointError, match="SHA-256"):
        OnnxBackend.load(str(tmp_path / "m"))


def test_when_a_pocket_directory_is_asked_for_as_onnx_expect_it_exported_once_and_kept(
    pocket_directory, pocket, observation, noise, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    backend = load_backend("onnx", str(pocket_directory), num_threads=1)
    ours, theirs = backend.prefix(observation), pocket.prefix(observation)
    assert np.abs(backend.denoise(ours, noise) - pocket.denoise(theirs, noise)).max() < 1e-4
    (kept,) = (tmp_path / "whetstone" / "onnx").iterdir()
    before = (kept / "manifest.json").stat().st_mtime_ns
    load_backend("onnx", str(pocket_directory), num_threads=1)
    assert (kept / "manifest.json").stat().st_mtime_ns == before


def test_when_the_directory_holds_graphs_already_expect_it_used_as_it_is(exported, tmp_path):
    made: list[str] = []
    assert kept_export(exported, tmp_path, on_export=lambda: made.append("export")) == exported and made == []
    assert not list(tmp_path.iterdir())


def test_when_int8_is_asked_for_expect_the_same_features_and_nearly_the_same_chunks(
    pocket_directory, pocket, observation, noise, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    exact = load_backend("onnx", str(pocket_directory), num_threads=1)
    backend = load_backend("onnx", str(pocket_directory), num_threads=1, dtype="int8")
    assert backend.spec.model_id == "tiny-onnx-int8"
    ours, theirs = backend.prefix(observation), exact.prefix(observation)
    assert np.array_equal(backend.features(ours), exact.features(theirs))
    error = np.abs(backend.denoise(ours, noise) - exact.denoise(theirs, noise))
    assert 0.0 < error.mean() < 0.02 * exact.denoise(theirs, noise).std()
    folders = {folder.name.endswith("-int8") for folder in (tmp_path / "whetstone" / "onnx").iterdir()}
    assert folders == {False, True}


def test_when_int8_of_exported_graphs_is_asked_for_expect_it_made_once_and_the_graphs_untouched(exported, tmp_path):
    before, made = (exported / "manifest.json").read_bytes(), list[str]()
    kept = [kept_export(exported, tmp_path, int8=True, on_export=lambda: made.append("export")) for _ in range(2)]
    assert kept[0] == kept[1] != exported and made == ["export"]
    assert (exported / "manifest.json").read_bytes() == before
    OnnxBackend.load(str(kept[0]), num_threads=1).warmup()


def test_when_an_export_was_cut_short_expect_a_whole_one_made(pocket_directory, tmp_path):
    (tmp_path / "partial-abc").mkdir()
    made: list[str] = []
    kept = kept_export(pocket_directory, tmp_path, on_export=lambda: made.append("export"))
    assert OnnxBackend.load(str(kept), num_threads=1).spec.model_id == "tiny-onnx" and made == ["export"]


@pytest.mark.parametrize("name", ["prefix.onnx", "denoise.onnx"])
def test_when_a_graph_is_none_or_the_other_expect_its_name(exported, tmp_path, name):
    other = {"prefix.onnx": "denoise.onnx", "denoise.onnx": "prefix.onnx"}[name]
    for content, words in ((b"no graph", "it cannot be read"), ((exported / other).read_bytes(), "takes")):
        shutil.rmtree(tmp_path / "m", ignore_errors=True)
        shutil.copytree(exported, tmp_path / "m")
        (tmp_path / "m" / name).write_bytes(content)
        seal(tmp_path / "m")
        with pytest.raises(CheckpointError, match=rf"{name}:? .*{words}|{name} {words}"):
            OnnxBackend.load(str(tmp_path / "m"))


class _OneAtATime(torch.nn.Module):
    """The step of an earlier export: noisy chunks [N, H, A] of one observation."""

    def forward(self, noisy, stride):
        return noisy * stride


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the exporter that ours uses
def test_when_a_graph_takes_one_observation_at_a_time_expect_it_refused_with_what_to_do(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "m")
    torch.onnx.export(
        _OneAtATime(),
        (torch.zeros(2, 16, 7), torch.tensor(0.1)),
        str(tmp_path / "m" / "denoise.onnx"),
        input_names=["noisy", "stride"],
        output_names=["next"],
        dynamo=False,
    )
    seal(tmp_path / "m")
    with pytest.raises(CheckpointError, match="one observation at a time.*export it anew"):
        OnnxBackend.load(str(tmp_path / "m"))


def seal(folder, **changes):
    manifest = {**json.loads((folder / "manifest.json").read_text()), **changes}
    write_manifest(folder, manifest.pop("files"), manifest)


@pytest.mark.parametrize(("key", "value"), [("num_steps", 0), ("feature_dim", "many"), ("model_id", "")])
def test_when_the_manifest_says_what_cannot_be_expect_the_key(exported, tmp_path, key, value):
    shutil.copytree(exported, tmp_path / "m")
    seal(tmp_path / "m", **{key: value})
    with pytest.raises(CheckpointError, match=rf"manifest\.json: {key} is"):
        OnnxBackend.load(str(tmp_path / "m"))


@pytest.mark.parametrize(("backend", "dtype"), [("onnx", "bfloat16"), ("pocket", "int8"), ("pi0", "int8")])
def test_when_a_backend_lacks_the_number_format_expect_both_named(backend, dtype):
    with pytest.raises(ParameterError, match=f"dtype = '{dtype}' with backend = '{backend}': it has float32 and"):
        check_dtype({"backend": backend, "dtype": dtype})


@pytest.mark.parametrize(
    ("backend", "dtype"), [("onnx", "int8"), ("pi0", "bfloat16"), ("fake", "int8"), ("remote", "float32")]
)
def test_when_a_backend_has_the_number_format_or_none_at_all_expect_no_complaint(backend, dtype):
    check_dtype({"backend": backend, "dtype": dtype})
