# SPDX-License-Identifier: Apache-2.0
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vla_policy.core.backends import load_backend
from vla_policy.core.files import CheckpointError, write_manifest
from vla_policy.core.protocol import Observation, ObservationError


def spoiled(source, target, change):
    """A copy whose tensors were changed and whose manifest is right for them: only the tensors are wrong."""
    shutil.copytree(source, target)
    tensors = load_file(target / "model.safetensors")
    change(tensors)
    save_file(tensors, target / "model.safetensors")
    manifest = json.loads((target / "manifest.json").read_text())
    files = manifest.pop("files")
    write_manifest(target, files, manifest)
    return str(target)


def drop(tensors):
    tensors.pop("action_out_proj.bias")


def add(tensors):
    tensors["stranger"] = torch.zeros(1)


def reshape(tensors):
    tensors["action_out_proj.bias"] = torch.zeros(9)


def poison(tensors):
    tensors["action_out_proj.bias"][0] = float("nan")


@pytest.mark.parametrize(
    ("change", "words"), [(drop, "missing"), (add, "unknown"), (reshape, "shape"), (poison, "not finite")]
)
def test_when_a_tensor_is_not_what_it_should_be_expect_refusal(change, words, pocket_directory, tmp_path):
    with pytest.raises(CheckpointError, match=words):
        load_backend("pocket", spoiled(pocket_directory, tmp_path / "m", change))


def test_when_a_byte_differs_from_the_manifest_expect_refusal(pocket_directory, tmp_path):
    shutil.copytree(pocket_directory, tmp_path / "m")
    with (tmp_path / "m" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_backend("pocket", str(tmp_path / "m"))


@pytest.mark.parametrize("name", ["manifest.json", "model.safetensors", "stats.json", "vocab.json"])
def test_when_a_file_is_absent_expect_refusal(name, pocket_directory, tmp_path):
    shutil.copytree(pocket_directory, tmp_path / "m")
    (tmp_path / "m" / name).unlink()
    with pytest.raises(CheckpointError, match="complete|missing"):
        load_backend("pocket", str(tmp_path / "m"))


def test_when_a_file_is_no_safetensors_expect_refusal(pocket_directory, tmp_path):
    shutil.copytree(pocket_directory, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"\x80\x04 a pickle, say")
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    write_manifest(tmp_path / "m", manifest.pop("files"), manifest)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_backend("pocket", str(tmp_path / "m"))


def test_when_denoised_as_one_batch_expect_what_single_calls_give(pocket, observation, noise):
    context = pocket.prefix(observation)
    together = pocket.denoise(context, noise)
    assert together.shape == (8, *pocket.spec.chunk_shape)
    assert together.dtype == np.float32
    alone = np.concatenate([pocket.denoise(context, noise[i : i + 1]) for i in range(8)])
    assert np.allclose(together, alone, atol=1e-5)


def test_when_asked_for_features_expect_token_and_normalised_proprioception(pocket, observation):
    features = pocket.features(pocket.prefix(observation))
    assert features.shape == (pocket.spec.feature_dim,)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    other = Observation(observation.images, observation.proprio + 0.1, observation.instruction)
    changed = pocket.features(pocket.prefix(other))
    assert np.array_equal(features[:-10], changed[:-10])
    assert not np.array_equal(features[-10:], changed[-10:])


def test_when_the_words_change_expect_another_chunk(pocket, observation, noise):
    words = next(words for words in pocket.spec.instructions if words != observation.instruction)
    other = Observation(observation.images, observation.proprio, words)
    first, second = (pocket.denoise(pocket.prefix(o), noise) for o in (observation, other))
    assert not np.array_equal(first, second)


def test_when_the_instruction_is_too_long_expect_it_refused(pocket, observation):
    with pytest.raises(ObservationError, match="words"):
        pocket.prefix(Observation(observation.images, observation.proprio, "red " * 40))


def test_when_warmed_up_expect_the_same_answer_as_before(pocket, observation, noise):
    before = pocket.denoise(pocket.prefix(observation), noise)
    pocket.warmup()
    assert np.array_equal(before, pocket.denoise(pocket.prefix(observation), noise))


def test_when_run_in_bfloat16_expect_nearly_the_same_chunk(pocket_directory, pocket, observation, noise):
    half = load_backend("pocket", str(pocket_directory), dtype="bfloat16")
    exact = pocket.denoise(pocket.prefix(observation), noise)
    assert np.abs(half.denoise(half.prefix(observation), noise) - exact).max() < 0.1


def test_when_the_dtype_is_unknown_expect_the_known_ones_named(pocket_directory):
    with pytest.raises(ValueError, match="bfloat16"):
        load_backend("pocket", str(pocket_directory), dtype="int3")
