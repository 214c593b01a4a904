# SPDX-License-Identifier: Apache-2.0
"""PI0 as transformers' own save_pretrained writes it, in shards and with its processor, against its own inference."""

import json

import numpy as np
import pytest
import torch
import transformers
from transformers import PI0Config, PI0ForConditionalGeneration, PreTrainedTokenizerFast
from transformers.models.pi0.processing_pi0 import PI0Processor

from harness.published import CAMERAS, DATA, JOINTS, mapping_text, observation
from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends import load_backend
from vla_policy.core.published.report import inspect
from vla_policy.core.published.report_lines import RobotNames

GEMMA = {
    "model_type": "gemma", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 1200,
}  # fmt: skip
VISION = {
    "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
    "num_attention_heads": 4, "image_size": 28, "patch_size": 7, "vision_use_head": False,
}  # fmt: skip
MEAN, STD = np.linspace(-20.0, 20.0, 8), np.linspace(5.0, 12.0, 8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transformers_pi0")
    torch.manual_seed(1)
    vlm = {"model_type": "paligemma", "text_config": GEMMA, "vision_config": VISION, "projection_dim": 16}
    config = PI0Config(
        vlm_config=vlm | {"hidden_size": 16, "image_token_id": 1199},
        dit_config=GEMMA,
        chunk_size=6,
        num_inference_steps=3,
    )
    model = PI0ForConditionalGeneration(config).eval()
    model.save_pretrained(folder, max_shard_size="60KB")
    PreTrainedTokenizerFast.from_pretrained(DATA / "tokenizer").save_pretrained(folder)
    body = {"processor_class": "PI0Processor", "max_state_dim": 32, "chunk_size": 6}
    for name in ("state", "actions"):
        body |= {f"{name}_mean": MEAN.tolist(), f"{name}_std": STD.tolist()}
    (folder / "processor_config.json").write_text(json.dumps(body))
    (folder / "whetstone.yaml").write_text(mapping_text().replace("tokenizer: tokenizer\n", ""))
    return folder, model


def test_when_transformers_wrote_the_weights_in_shards_expect_its_own_answer(saved):
    folder, model = saved
    assert len(list(folder.glob("model-*.safetensors"))) > 1, transformers.__version__
    backend, seen = load_backend("pi0", str(folder)), observation()
    noise = np.random.default_rng(1).standard_normal((2, 6, 32)).astype(np.float32)
    found = backend.denoise(backend.prefix(seen), noise)
    ids = [1199] * 32 + [2, 5, 6, 7, 4]
    images = torch.from_numpy(np.stack([seen.images[name] for name in ("front", "wrist")])).permute(0, 3, 1, 2)
    raw = np.concatenate([np.rad2deg(seen.proprio[:7]), 100.0 * seen.proprio[7:]])
    # its own normalisation of the state, called on a processor that has not been built
    processor = type("Normalizer", (), {"state_mean": MEAN.tolist(), "state_std": STD.tolist()})()
    state = torch.zeros(2, 32)
    state[:, :8] = PI0Processor.normalize(processor, torch.from_numpy(raw).float(), "state")
    whole = model.sample_actions(
        state=state,
        input_ids=torch.tensor([ids] * 2),
        pixel_values=(images[None].float() / 127.5 - 1.0).expand(2, -1, -1, -1, -1),
        pixel_attention_mask=torch.ones(2, 2, dtype=torch.bool),
        attention_mask=torch.ones(2, len(ids), dtype=torch.long),
        noise=torch.from_numpy(noise),
    )
    wanted = whole[..., :8].numpy() * STD + MEAN
    chunks = backend.spec.denormalise(found).astype(np.float64)
    absolute = np.concatenate([np.rad2deg(chunks[..., :7] + seen.proprio[:7]), 100.0 * chunks[..., 7:]], -1)
    assert np.abs(absolute - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_when_the_processor_has_no_statistics_expect_the_file_and_key_named(saved, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    for path in saved[0].iterdir():
        if path.name != "processor_config.json":
            (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match=r"processor_config\.json: state_mean"):
        load_backend("pi0", str(folder))


def test_when_transformers_wrote_it_expect_a_report_without_a_problem(saved):
    report = inspect(saved[0], RobotNames(JOINTS, tuple(c for c in CAMERAS.values() if c != "null")))
    assert report.can_be_served, report.lines
    assert "statistics of 8 dimensions" in next(line.text for line in report.lines if line.field == "action")
