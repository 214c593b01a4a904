# SPDX-License-Identifier: Apache-2.0
"""A model is served with the words of its directory, and guided by them; new words leave the known ones alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from fakes.toy_vla import WORDS
from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends import load_backend
from vla_policy.core.backends.onnx import OnnxBackend
from vla_policy.core.backends.onnx_export import export_onnx
from vla_policy.core.backends.pocket import PocketBackend, load_pocket
from vla_policy.core.conditioning import Conditioning, conditioning_in, guided
from vla_policy.core.expert import integrate
from vla_policy.core.files import read_manifest, write_manifest
from vla_policy.core.protocol import ObservationError
from vla_policy.core.training.contrast import ContrastConfig, make_heard
from vla_policy.core.training.directories import add_words
from vla_policy.core.training.vocabulary import extended, missing_words
from vla_policy.nodes.backends import build_backend

SUFFIX = "red cube"  # words of the toy's vocabulary


def sealed(source, target, conditioning):
    """The same weights, served with words behind the instruction."""
    shutil.copytree(source, target)
    manifest = json.loads((target / "manifest.json").read_text())
    write_manifest(target, manifest.pop("files"), manifest | conditioning)
    return target


@pytest.fixture
def conditioned(pocket_directory, tmp_path):
    return sealed(pocket_directory, tmp_path / "model", Conditioning(SUFFIX, 1.0).entry())


def served(directory, observation, noise, **options):
    backend = PocketBackend.load(str(directory), **options)
    return backend.denoise(backend.prefix(observation), noise)


def test_when_velocities_are_guided_expect_the_line_through_both():
    plain, conditioned = np.float32([1.0, -2.0]), np.float32([3.0, -1.0])
    np.testing.assert_allclose(guided(plain, conditioned, 0.0), plain)
    np.testing.assert_allclose(guided(plain, conditioned, 1.0), conditioned)
    np.testing.assert_allclose(guided(plain, conditioned, 2.5), [6.0, 0.5])


def test_when_one_step_is_guided_expect_the_velocities_mixed_by_hand(pocket, observation, noise):
    start = torch.from_numpy(noise)[None]
    one, other = (
        pocket.prefix(replace(observation, instruction=words)) for words in (f"{WORDS[1]} {SUFFIX}", WORDS[1])
    )
    with torch.inference_mode():
        step = pocket._expert
        conditioned = start - integrate(step, one.prefix, one.state, start, 1)
        plain = start - integrate(step, other.prefix, one.state, start, 1)
        mixed = start - integrate(step, one.prefix, one.state, start, 1, (other.prefix, 2.0))
    assert float((conditioned - plain).abs().max()) > 1e-4
    torch.testing.assert_close(mixed, 2.0 * conditioned - plain, atol=1e-5, rtol=1e-5)


def test_when_the_manifest_names_words_expect_the_chunks_of_the_longer_instruction(
    conditioned, pocket, observation, noise
):
    context = pocket.prefix(replace(observation, instruction=f"{WORDS[1]} {SUFFIX}"))
    np.testing.assert_array_equal(served(conditioned, observation, noise), pocket.denoise(context, noise))


def test_when_guidance_is_none_expect_the_plain_policy(conditioned, pocket, observation, noise):
    plain = pocket.denoise(pocket.prefix(observation), noise)
    np.testing.assert_allclose(served(conditioned, observation, noise, guidance=0.0), plain, atol=1e-5)


def test_when_guided_expect_the_guidance_of_the_manifest_and_of_the_option_alike(
    pocket_directory, tmp_path, observation, noise
):
    two = sealed(pocket_directory, tmp_path / "two", Conditioning(SUFFIX, 2.0).entry())
    one = sealed(pocket_directory, tmp_path / "one", Conditioning(SUFFIX, 1.0).entry())
    strong = served(two, observation, noise)
    np.testing.assert_array_equal(strong, served(one, observation, noise, guidance=2.0))
    assert np.abs(strong - served(one, observation, noise)).max() > 1e-4


@pytest.mark.parametrize("guidance", [None, 0.0, 2.0])
def test_when_exported_to_onnx_expect_the_same_guided_chunks(conditioned, observation, noise, tmp_path, guidance):
    parts = load_pocket(conditioned)
    export_onnx(parts, PocketBackend(parts).spec, conditioned, tmp_path / "onnx", num_steps=4)
    backend = OnnxBackend.load(str(tmp_path / "onnx"), num_threads=1, guidance=guidance)
    assert conditioning_in(read_manifest(tmp_path / "onnx"), tmp_path / "onnx") == Conditioning(SUFFIX, 1.0)
    ours = backend.denoise(backend.prefix(observation), noise)
    assert np.abs(ours - served(conditioned, observation, noise, guidance=guidance)).max() < 1e-4


def test_when_the_instruction_leaves_no_room_for_the_words_expect_it_refused(conditioned):
    backend = load_backend("pocket", str(conditioned))
    backend.check_instruction("put the red cube on the blue red plate")
    with pytest.raises(ObservationError, match="at most 12"):
        backend.check_instruction("put the red cube on the blue plate the red cube")


def test_when_the_model_knows_no_such_words_expect_guidance_refused(pocket_directory):
    with pytest.raises(CheckpointError, match=r"guidance is 2.0, but tiny was not trained with an indicator"):
        load_backend("pocket", str(pocket_directory), guidance=2.0)


@pytest.mark.parametrize("guidance", [-0.5, 11.0, float("nan")])
def test_when_guidance_cannot_work_expect_the_range(conditioned, guidance):
    with pytest.raises(CheckpointError, match=r"guidance is .*, allowed: 0..10"):
        load_backend("pocket", str(conditioned), guidance=guidance)


@pytest.mark.parametrize("entry", [{"suffix": ""}, {"suffix": "x", "guidance": -1}, {"guidance": 1.0}, {"suffix": 3}])
def test_when_the_manifest_is_wrong_expect_the_key(pocket_directory, tmp_path, entry):
    folder = sealed(pocket_directory, tmp_path / "m", {"conditioning": entry})
    with pytest.raises(CheckpointError, match="conditioning"):
        load_backend("pocket", str(folder))


def test_when_words_are_added_expect_features_and_chunks_of_known_words_as_before(pocket_directory, observation, noise):
    before = PocketBackend.load(str(pocket_directory))
    parts = load_pocket(pocket_directory)
    model, tokenizer = extended(parts.model, parts.prompter.tokenizer, ("advantage", "red", "positive"), seed=1)
    assert tokenizer.words == (*parts.prompter.tokenizer.words, "advantage", "positive")
    prompter = replace(parts.prompter, tokenizer=tokenizer)
    after = PocketBackend(replace(parts, model=model, prompter=prompter))
    old, new = before.prefix(observation), after.prefix(observation)
    np.testing.assert_array_equal(before.features(old), after.features(new))
    np.testing.assert_array_equal(before.denoise(old, noise), after.denoise(new, noise))
    with_word = after.prefix(replace(observation, instruction=f"{WORDS[1]} advantage"))
    unknown = after.prefix(replace(observation, instruction=f"{WORDS[1]} strangeword"))
    assert np.abs(after.features(with_word) - after.features(unknown)).max() > 1e-4


def test_when_words_are_known_expect_the_model_itself(pocket_directory):
    parts = load_pocket(pocket_directory)
    assert missing_words(parts.prompter.tokenizer, ("red", "cube")) == ()
    assert extended(parts.model, parts.prompter.tokenizer, ("red", "cube"), 0)[0] is parts.model


def test_when_words_are_to_be_heard_expect_their_rows_moved_and_nothing_else(pocket_directory, observation):
    parts = load_pocket(pocket_directory)
    model, tokenizer = extended(parts.model, parts.prompter.tokenizer, ("advantage", "positive", "negative"), seed=1)
    prompter = replace(parts.prompter, tokenizer=tokenizer)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = range(tokenizer.vocab_size - 3, tokenizer.vocab_size)
    endings = ("Advantage: positive", "Advantage: negative")
    reached = make_heard(replace(parts, model=model, prompter=prompter), endings, rows, ContrastConfig(target=0.2))
    assert reached >= 0.2
    table = "model.vlm.language_model.embed_tokens.weight"
    for name, value in model.state_dict().items():
        if name != table:
            assert torch.equal(value, before[name]), name
    changed = (model.state_dict()[table] != before[table]).any(dim=1)
    assert changed.nonzero()[:, 0].tolist() == list(rows)
    lengths = model.state_dict()[table].norm(dim=1)
    torch.testing.assert_close(lengths, before[table].norm(dim=1))


def test_when_words_are_not_heard_expect_the_directory_refused(pocket_directory, tmp_path):
    with pytest.raises(CheckpointError, match="would not learn to tell them apart"):
        add_words(pocket_directory, tmp_path / "out", ("advantage",), ("advantage", "advantage"))
    assert not (tmp_path / "out").exists()


def test_when_a_directory_gets_words_expect_it_whole_and_chunks_of_known_words_as_before(
    pocket_directory, pocket, observation, noise, tmp_path
):
    endings = ("advantage positive", "advantage negative")
    made = add_words(pocket_directory, tmp_path / "out", ("advantage", "positive", "negative"), endings)
    backend = PocketBackend.load(str(made))
    np.testing.assert_array_equal(served(made, observation, noise), pocket.denoise(pocket.prefix(observation), noise))
    good, bad = (backend.prefix(replace(observation, instruction=f"{WORDS[1]} {ending}")) for ending in endings)
    assert np.abs(backend.denoise(good, noise) - backend.denoise(bad, noise)).max() > 0.05
    assert add_words(made, tmp_path / "again", ("advantage",), endings) == made


@pytest.mark.parametrize(("given", "served_with"), [(-1.0, 1.0), (0.0, 0.0), (2.0, 2.0)])
def test_when_vla_node_has_a_guidance_expect_the_backend_to_have_it(conditioned, given, served_with):
    parameters = {
        "backend": "pocket", "model_dir": str(conditioned), "torch_threads": 1, "dtype": "float32", "device": "cpu",
        "num_steps": 0, "guidance": given,
    }  # fmt: skip
    assert build_backend(parameters.__getitem__).conditioning.guidance == served_with
