# SPDX-License-Identifier: Apache-2.0
"""The published format at toy size: LeRobot's tensor names, SigLIP tower, a tokenizer from files."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PI0Config, PI0ForConditionalGeneration, PreTrainedTokenizerFast

from vla_policy.core.backends import load_backend
from vla_policy.core.files import CheckpointError
from vla_policy.core.normalise import PolicyStats, Stats
from vla_policy.core.protocol import Observation, ObservationError

VOCABULARY = ["<pad>", "<eos>", "<bos>", "<unk>", "<image>", "lift", "the", "cube", "drop"]
GEMMA = {
    "model_type": "gemma",
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "vocab_size": len(VOCABULARY),
}
VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
    "vision_use_head": False,
}


def published_names(tensors):
    """transformers' names -> those in the published files, heads instead of embeddings included."""
    out = {}
    for name, tensor in tensors.items():
        new = name.replace("model.vlm.", "paligemma_with_expert.paligemma.model.")
        new = new.replace("model.dit.", "paligemma_with_expert.gemma_expert.model.")
        new = new.replace("embed_action_time.", "")
        if new.endswith("gemma_expert.model.embed_tokens.weight"):
            new = "paligemma_with_expert.gemma_expert.lm_head.weight"
        if new.endswith("paligemma.model.language_model.embed_tokens.weight"):
            new = "paligemma_with_expert.paligemma.lm_head.weight"
        out[new] = tensor.clone()
    return out


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pi0_tiny")
    torch.manual_seed(0)
    config = PI0Config(
        vlm_config={
            "model_type": "paligemma",
            "text_config": GEMMA | {"hidden_size": 32, "intermediate_size": 48},
            "vision_config": VISION,
            "projection_dim": 32,
            "hidden_size": 32,
            "image_token_index": 4,
        },
        dit_config=GEMMA | {"hidden_size": 32, "intermediate_size": 48},
        chunk_size=6,
        max_state_dim=32,
        max_action_dim=32,
        num_inference_steps=3,
    )
    model = PI0ForConditionalGeneration(config).eval()
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    save_file(published_names(model.state_dict()), folder / "model.safetensors")
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(VOCABULARY)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"bos_token": "<bos>", "pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
    stats = PolicyStats(
        action=Stats((0.0,) * 8, (0.1,) * 8),
        proprio=Stats((0.0,) * 8, (1.0,) * 8),
        cameras=("front", "wrist"),
        dt_s=0.02,
        action_space="joint",
        instructions=(),
    )
    stats.save(folder / "stats.json")
    return folder, model


def look(words="lift the cube"):
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (28, 28, 3)).astype(np.uint8) for name in ("front", "wrist")}
    return Observation(images, np.linspace(-1, 1, 8, dtype=np.float32), words)


def test_when_a_published_directory_is_loaded_expect_transformers_own_answer(published):
    folder, model = published
    backend = load_backend("pi0", str(folder))
    assert backend.spec.noise_dim == 32
    assert backend.spec.action_dim == 8
    context = backend.prefix(look())
    noise = np.random.default_rng(1).standard_normal((3, 6, 32)).astype(np.float32)
    chunks = backend.denoise(context, noise)
    assert chunks.shape == (3, 6, 8)
    ids = [4] * 8 + [2, 5, 6, 7] + [0] * 44
    mask = [1] * 12 + [0] * 44
    images = torch.from_numpy(np.stack([look().images[n] for n in ("front", "wrist")])).permute(0, 3, 1, 2)
    whole = model.sample_actions(
        state=context.state,
        input_ids=torch.tensor([ids]),
        pixel_values=images[None].float() / 127.5 - 1.0,
        pixel_attention_mask=torch.ones(1, 2, dtype=torch.bool),
        attention_mask=torch.tensor([mask]),
        noise=torch.from_numpy(noise[:1]),
    )
    assert np.abs(chunks[0] - whole[0, :, :8].numpy()).max() < 1e-4


def test_when_the_words_change_expect_another_chunk(published):
    backend = load_backend("pi0", str(published[0]))
    noise = np.zeros((1, 6, 32), np.float32)
    first, second = (backend.denoise(backend.prefix(look(w)), noise) for w in ("lift the cube", "drop the cube"))
    assert np.abs(first - second).max() > 1e-6


def test_when_the_prompt_is_too_long_expect_it_refused(published):
    with pytest.raises(ObservationError, match="tokens"):
        load_backend("pi0", str(published[0])).prefix(look("cube " * 60))


def test_when_asked_for_features_expect_the_promised_length(published):
    backend = load_backend("pi0", str(published[0]))
    assert backend.features(backend.prefix(look())).shape == (backend.spec.feature_dim,)


def copy_with(published, target, change):
    target.mkdir()
    for path in published[0].iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    tensors = load_file(target / "model.safetensors")
    change(tensors)
    save_file(tensors, target / "model.safetensors")
    return str(target)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("action_out_proj.bias"), "missing"),
        (lambda t: t.update(stranger=torch.zeros(1)), "unexpected"),
        (lambda t: t.update({"action_out_proj.bias": torch.zeros(3)}), "mismatched"),
        (lambda t: t["action_out_proj.bias"].fill_(float("nan")), "not finite"),
    ],
)
def test_when_a_tensor_is_not_what_it_should_be_expect_refusal(change, words, published, tmp_path):
    with pytest.raises(CheckpointError, match=words):
        load_backend("pi0", copy_with(published, tmp_path / "m", change))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "stats.json"])
def test_when_a_file_is_absent_expect_it_named(name, published, tmp_path):
    directory = copy_with(published, tmp_path / "m", lambda _: None)
    (tmp_path / "m" / name).unlink()
    with pytest.raises(CheckpointError):
        load_backend("pi0", directory)


def test_when_the_configuration_is_of_another_model_expect_refusal(published, tmp_path):
    directory = copy_with(published, tmp_path / "m", lambda _: None)
    (tmp_path / "m" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="bert"):
        load_backend("pi0", directory)
