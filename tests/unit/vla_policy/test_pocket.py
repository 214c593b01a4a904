# SPDX-License-Identifier: Apache-2.0
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends import load_backend
from vla_policy.core.files import write_manifest
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


def pocket_std(pocket):
    """Deviations of proprioception that a policy normalises by."""
    return np.asarray(pocket._parts.stats.proprio.std)  # noqa: SLF001


def test_when_asked_for_features_expect_token_and_normalised_proprioception(pocket, observation):
    features = pocket.features(pocket.prefix(observation))
    assert features.shape == (pocket.spec.feature_dim,)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    other = Observation(observation.images, observation.proprio + 0.1, observation.instruction)
    changed = pocket.features(pocket.prefix(other))
    hand = len(pocket.spec.readout_names)
    assert np.array_equal(features[: -10 - hand], changed[: -10 - hand])
    assert np.allclose(features[-10 - hand : -hand] + 0.1 / pocket_std(pocket), changed[-10 - hand : -hand], atol=1e-4)


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


def changed(source, target, name, change):
    """A copy with one JSON file changed, and a manifest that is right for it."""
    shutil.copytree(source, target)
    manifest = json.loads((target / "manifest.json").read_text())
    body = manifest if name == "manifest.json" else json.loads((target / name).read_text())
    body = change(body) or body
    if name != "manifest.json":
        (target / name).write_text(json.dumps(body))
    files = manifest.pop("files")
    write_manifest(target, files, manifest)
    return str(target)


def one_value_less(body):
    for numbers in body["action"].values():
        numbers.pop()


FILES = {
    "std of zero": ("stats.json", lambda b: b["action"].update(std=[0.0] * 7), r"action\.std\[0\] is 0\.0"),
    "std of -1": ("stats.json", lambda b: b["proprio"]["std"].__setitem__(3, -1), r"proprio\.std\[3\] is -1"),
    "one mean less": ("stats.json", lambda b: b["action"]["mean"].pop() and None, "mean has 6 numbers and std 7"),
    "one value less": ("stats.json", one_value_less, "a cartesian policy has"),
    "whole numbers, one less": (
        "stats.json", lambda b: b.update(proprio={"mean": [0] * 9, "std": [1] * 9}), r"have \(7, 9\) numbers",
    ),
    "no time between steps": ("stats.json", lambda b: b.update(dt_s=0.0), r"dt_s is 0\.0"),
    "a camera twice": ("stats.json", lambda b: b.update(cameras=["front"] * 2), "expected distinct names"),
    "no camera": ("stats.json", lambda b: b.update(cameras=[]), "cameras is"),
    "a misspelt action space": ("stats.json", lambda b: b.update(action_space="cartesain"), "'cartesian' or 'joint'"),
    "no instructions": ("stats.json", lambda b: b.pop("instructions") and None, "the key instructions is missing"),
    "a list of words": ("vocab.json", list, "expected keys with values"),
    "no words": ("vocab.json", lambda b: b.pop("words") and None, "the key words is missing"),
    "a word less": ("vocab.json", lambda b: b["words"].pop() and None, "ids, the model"),
    "an unknown key": ("config.json", lambda b: b.update(chunk_sise=4), "the key chunk_sise is unknown"),
    "a chunk of words": ("config.json", lambda b: b.update(chunk_size="long"), "chunk_size"),
    "a config of numbers": ("config.json", lambda b: [1], "expected keys with values"),
    "no towers": ("config.json", lambda b: b.update(vlm_config=None), "does not describe a pocket VLA"),
    "no name": ("manifest.json", lambda b: b.pop("model_id") and None, "the key model_id is missing"),
    "no token": ("manifest.json", lambda b: b.pop("rl_token") and None, "the key rl_token is missing"),
    "half a token": ("manifest.json", lambda b: b["rl_token"].pop("width") and None, r"rl_token\.width is missing"),
    "a token of others": ("manifest.json", lambda b: b["rl_token"].update(count=3), r"rl_token\.count is 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_when_a_file_says_what_cannot_be_expect_directory_and_key(name, pocket_directory, tmp_path):
    file, change, words = FILES[name]
    with pytest.raises(CheckpointError, match=rf"{tmp_path}.*{words}") as caught:
        load_backend("pocket", changed(pocket_directory, tmp_path / "m", file, change))
    assert "\n" not in str(caught.value)


def as_type(kind):
    def change(tensors):
        for name, tensor in tensors.items():
            tensors[name] = tensor.to(kind)

    return change


@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.float64])
def test_when_weights_are_of_another_float_type_expect_them_loaded(kind, pocket_directory, tmp_path):
    backend = load_backend("pocket", spoiled(pocket_directory, tmp_path / "m", as_type(kind)))
    assert {parameter.dtype for parameter in backend.model.parameters()} == {torch.float32}


def too_large(tensors):
    tensors["action_out_proj.bias"] = torch.full_like(tensors["action_out_proj.bias"], 1e300, dtype=torch.float64)


@pytest.mark.parametrize(("change", "words"), [(as_type(torch.int8), "has type torch.int8"), (too_large, "not finite")])
def test_when_weights_cannot_be_of_the_models_type_expect_refusal(change, words, pocket_directory, tmp_path):
    with pytest.raises(CheckpointError, match=words):
        load_backend("pocket", spoiled(pocket_directory, tmp_path / "m", change))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"files": 3}'])
def test_when_the_manifest_is_damaged_expect_it_named(content, pocket_directory, tmp_path):
    shutil.copytree(pocket_directory, tmp_path / "m")
    (tmp_path / "m" / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        load_backend("pocket", str(tmp_path / "m"))
