# SPDX-License-Identifier: Apache-2.0
"""The published format at toy size: LeRobot's tensor names, SigLIP tower, a tokenizer from files."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PI0Config, PI0ForConditionalGeneration, PreTrainedTokenizerFast

from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.common.flow_policy import integrate
from rl_methods.ppo.algorithm import Ppo
from rl_methods.ppo.decisions import Decisions
from rl_methods.ppo.settings import Likelihood, PpoSettings
from vla_policy.core.backends import load_backend
from vla_policy.core.backends.pi0 import Pi0Backend
from vla_policy.core.backends.pi0_parts import MeanFeaturizer
from vla_policy.core.conditioning import Conditioning
from vla_policy.core.files import read_manifest, write_manifest
from vla_policy.core.normalise import PolicyStats, Stats
from vla_policy.core.protocol import Observation, ObservationError
from vla_policy.core.rl_token import TokenEncoder, TokenShape
from vla_policy.core.token_files import ENCODER_FILE, describe_features, token_entries
from vla_policy.core.training.directories import add_words, sealed_with
from vla_policy.core.training.expert_flow import ExpertFlow
from vla_policy.core.training.settings import SftConfig
from vla_policy.core.training.sft import SftData, SftRun
from vla_policy.core.training.trainable import Trainable
from vla_policy.core.training.windows import Windows

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


def test_when_a_published_directory_names_words_expect_them_served_and_guided(published, tmp_path):
    folder = shutil.copytree(published[0], tmp_path / "model")
    names = [path.name for path in folder.iterdir()]
    write_manifest(folder, names, Conditioning("drop", 1.0).entry())
    assert add_words(folder, tmp_path / "more", ("strange",), ("strange", "drop")) == folder  # it reads parts of words
    noise = np.random.default_rng(1).standard_normal((2, 6, 32)).astype(np.float32)
    bare = load_backend("pi0", str(published[0]))
    plain, longer = (bare.prefix(look(words)) for words in ("lift the cube", "lift the cube drop"))
    served = load_backend("pi0", str(folder))
    np.testing.assert_allclose(served.denoise(served.prefix(look()), noise), bare.denoise(longer, noise), atol=1e-6)
    without = load_backend("pi0", str(folder), guidance=0.0)
    np.testing.assert_allclose(without.denoise(without.prefix(look()), noise), bare.denoise(plain, noise), atol=1e-5)


def test_when_the_prompt_is_too_long_expect_it_refused(published):
    with pytest.raises(ObservationError, match="tokens"):
        load_backend("pi0", str(published[0])).prefix(look("cube " * 60))


def test_when_a_prompt_is_padded_expect_the_mean_feature_not_to_see_the_padding():
    last = torch.arange(12.0).reshape(1, 4, 3)
    padded = torch.cat([last, torch.full((1, 5, 3), 1e6)], dim=1)
    mean, seen = MeanFeaturizer(3), torch.tensor([[1] * 4 + [0] * 5])
    assert torch.equal(mean(padded, seen), mean(last))
    assert torch.equal(mean(last), torch.tensor([[4.5, 5.5, 6.5]]))


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


def test_when_a_published_model_is_fine_tuned_expect_a_sealed_directory_that_loads_and_pads_its_actions(
    published, tmp_path
):
    folder, _ = published
    vla = Trainable.load(folder)
    vla.freeze("expert", 0)
    backend = load_backend("pi0", str(folder))
    rows = [vla.row(backend, look(), np.full((6, 8), 0.5, np.float32), 1.0)] * 2
    windows = Windows.of(rows)
    assert windows.actions.shape == (2, 6, 32) and not windows.actions[..., 8:].any()
    assert windows.mask is not None and int(windows.mask[0].sum()) == 12, "the prompt's padding stays masked"
    config = SftConfig(steps=80, batch=2, noises=4, learning_rate=1e-2, ema_decay=0.0)
    vla.install(SftRun(vla.model, SftData(windows, torch.arange(2), torch.arange(0)), config, tmp_path / "w").run())
    vla.export(tmp_path / "new", {"finetuned": {"steps": 30}})
    assert read_manifest(tmp_path / "new")["finetuned"] == {"steps": 30}
    served = load_backend("pi0", str(tmp_path / "new"))
    noise = np.random.default_rng(1).standard_normal((4, 6, 32)).astype(np.float32)
    trained, untouched = Pi0Backend(vla.parts), load_backend("pi0", str(folder))
    before, memory, after = (b.denoise(b.prefix(look()), noise) for b in (untouched, trained, served))
    np.testing.assert_allclose(after, memory, atol=1e-4)
    assert np.abs(after - 0.5).mean() < 0.8 * np.abs(before - 0.5).mean()


@pytest.mark.parametrize(("scope", "feature_dim"), [("expert", 5 + 8), ("whole", 32 + 8)])
def test_when_a_model_with_a_token_is_fine_tuned_expect_it_kept_unless_the_eyes_changed(
    published, tmp_path, scope, feature_dim
):
    encoder = TokenEncoder(TokenShape(32, 8, width=16, heads=2, layers=1, token_dim=5))
    entries = token_entries(encoder.shape, {"frames": 7})
    folder = sealed_with(published[0], tmp_path / "token", {ENCODER_FILE: encoder.state_dict()}, entries)
    vla = Trainable.load(folder)
    vla.freeze(scope, 0)
    vla.export(tmp_path / "new", {"finetuned": {"steps": 0}})
    served = load_backend("pi0", str(tmp_path / "new"))
    assert served.spec.feature_dim == len(served.features(served.prefix(look()))) == feature_dim
    assert describe_features(tmp_path / "new").startswith("RL token of 5" if scope == "expert" else "mean")


@pytest.mark.parametrize("likelihood", list(Likelihood))
def test_when_a_published_model_learns_by_ppo_expect_the_chunks_of_serving_and_the_first_ratio_one(
    published, likelihood
):
    backend = load_backend("pi0", str(published[0]))
    flow = ExpertFlow(backend)
    context = flow.encode([look(), look("drop the cube")])
    noise = np.random.default_rng(0).standard_normal((2, *backend.spec.noise_shape)).astype(np.float32)
    served = backend.denoise(backend.prefix(look("drop the cube")), noise[1:])[0]
    found = integrate(flow, context, torch.from_numpy(noise), backend.num_steps)
    np.testing.assert_allclose(found[1, :, : backend.spec.action_dim].numpy(), served, atol=1e-4)
    ppo = Ppo(flow, PpoSettings(likelihood=likelihood, execute_steps=3, critic_warm_up=0, actor_learning_rate=1e-3))
    ends = torch.tensor([False, True])
    decisions = Decisions(
        context, ppo.explore(context, [(0,), (1,)]), torch.tensor([3, 2]), torch.tensor([0.0, 1.0]), ends, ends,
        context.features.roll(-1, 0),
    )  # fmt: skip
    log_ratio, _ = ppo.log_ratio(ppo.rate(decisions), torch.arange(2))
    torch.testing.assert_close(log_ratio.detach().exp(), torch.ones(2), rtol=1e-4, atol=1e-4)
    before = {name: value.detach().clone() for name, value in flow.parameters().items()}
    ppo.learn(decisions, torch.Generator().manual_seed(0))
    assert not all(torch.equal(before[name], value) for name, value in flow.parameters().items())
