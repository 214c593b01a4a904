#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/published: tiny PI0 checkpoints by LeRobot's own `save_pretrained`, and the actions LeRobot gives.

Runs in an environment that `tools/foreign_env` made, never in the project's own:

    tools/foreign_env /tmp/foreign && /tmp/foreign/bin/python tools/foreign_checkpoints.py tests/data/published

Sizes are shrunk from outside: LeRobot builds its network from fixed variants of 300 million parameters and more.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

# torchvision from PyPI is compiled against another torch; LeRobot imports it, and PI0 calls nothing of it.
_register = torch.library.register_fake
torch.library.register_fake = lambda *_a, **_k: lambda function: function
import torchvision  # noqa: E402, F401

torch.library.register_fake = _register

from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature  # noqa: E402
from lerobot.policies.common.vla_utils import resize_with_pad_torch  # noqa: E402
from lerobot.policies.pi0 import modeling_pi0, processor_pi0  # noqa: E402
from lerobot.policies.pi0.configuration_pi0 import PI0Config  # noqa: E402
from lerobot.processor import tokenizer_processor  # noqa: E402

DIMS, IMAGE_PX, CHUNK = 8, 28, 16
WORDS = ["<pad>", "<eos>", "<bos>", "<unk>", "\n", "lift", "the", "cube", "drop", "put", "into", "bowl", "red", "blue"]
CAMERAS = ("observation.images.top", "observation.images.hand", "observation.images.spare")
NAMES = [f"joint_{i}.pos" for i in range(1, DIMS)] + ["gripper.pos"]
VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "patch_size": 7, "projection_dim": 16,
}  # fmt: skip
TEXT = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 8, "head_dim": 4,
    "vocab_size": len(WORDS),
}  # fmt: skip


def shrink() -> None:
    """Make LeRobot build a network of 20 thousand parameters."""
    whole_vlm, whole_expert = (
        modeling_pi0.PaliGemmaForConditionalGenerationWithPiGemma,
        modeling_pi0.PiGemmaForCausalLM,
    )

    def vlm(config: Any) -> Any:
        for name, value in TEXT.items():
            setattr(config.text_config, name, value)
        for name, value in VISION.items():
            setattr(config.vision_config, name, value)
        config.projection_dim = config.hidden_size = TEXT["hidden_size"]
        config.text_config.num_image_tokens = (IMAGE_PX // VISION["patch_size"]) ** 2
        return whole_vlm(config=config)

    def expert(config: Any) -> Any:
        for name, value in TEXT.items():
            setattr(config, name, value)
        return whole_expert(config=config)

    variant = modeling_pi0.GemmaConfig(16, 2, 24, 8, 1, 4)
    modeling_pi0.get_gemma_config = lambda _name: variant
    modeling_pi0.PaliGemmaForConditionalGenerationWithPiGemma = vlm
    modeling_pi0.PiGemmaForCausalLM = expert


def tokenizer() -> PreTrainedTokenizerFast:
    """Whole words; like PaliGemma's it puts `<bos>` in front."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split("\n", "isolated")]
    )
    words.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    special = {"bos_token": "<bos>", "pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, **special)


def config_of(mode: str, *, relative: bool = False) -> PI0Config:
    """What a fine-tuning on a robot with seven joints and a gripper leaves, with a camera that was never there."""
    image = PolicyFeature(FeatureType.VISUAL, (3, IMAGE_PX, IMAGE_PX))
    kind = NormalizationMode[mode]
    return PI0Config(
        device="cpu",
        chunk_size=CHUNK,
        n_action_steps=CHUNK,
        num_inference_steps=4,
        image_resolution=(IMAGE_PX, IMAGE_PX),
        normalization_mapping={"VISUAL": NormalizationMode.IDENTITY, "STATE": kind, "ACTION": kind},
        use_relative_actions=relative,
        action_feature_names=NAMES,
        input_features=dict.fromkeys(CAMERAS, image) | {"observation.state": PolicyFeature(FeatureType.STATE, (DIMS,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (DIMS,))},
    )


def statistics() -> dict[str, dict[str, np.ndarray]]:
    """Of a dataset in degrees, with a gripper in percent."""
    rng = np.random.default_rng(5)
    found = {}
    for name in ("observation.state", "action"):
        mean = rng.uniform(-30.0, 30.0, DIMS)
        std = rng.uniform(5.0, 25.0, DIMS)
        found[name] = {
            "mean": mean, "std": std, "min": mean - 2.5 * std, "max": mean + 2.0 * std, "q01": mean - 2.0 * std,
            "q99": mean + 1.8 * std, "q10": mean - 1.1 * std, "q90": mean + 1.2 * std,
        }  # fmt: skip
    return {name: {key: value.astype(np.float32) for key, value in stats.items()} for name, stats in found.items()}


def inputs() -> dict[str, torch.Tensor]:
    """One observation and the noises of two candidates."""
    rng = np.random.default_rng(7)
    images = {name: rng.integers(0, 256, (IMAGE_PX, IMAGE_PX, 3), dtype=np.uint8) for name in CAMERAS[:2]}
    tensors = {name: torch.from_numpy(image) for name, image in images.items()}
    tensors["observation.state"] = torch.from_numpy(rng.uniform(-40.0, 40.0, DIMS).astype(np.float32))
    tensors["noise"] = torch.from_numpy(rng.standard_normal((2, CHUNK, 32)).astype(np.float32))
    return tensors


@torch.no_grad()
def answers(policy: Any, pipelines: tuple[Any, Any], given: dict[str, torch.Tensor], words: str) -> torch.Tensor:
    """[2, H, A] actions as LeRobot would send them to the robot."""
    before, after = pipelines
    batch = {name: given[name].permute(2, 0, 1).float() / 255.0 for name in CAMERAS[:2]}
    batch |= {"observation.state": given["observation.state"], "task": words}
    out = []
    for noise in given["noise"]:
        chunk = policy.predict_action_chunk(before(dict(batch)), noise=noise[None])
        out.append(torch.stack([after(chunk[:, step])[0] for step in range(CHUNK)]))
    return torch.stack(out)


def main(out: Path) -> None:
    """Write every case."""
    shrink()
    words, given = "lift the cube", inputs()
    tokenizer_processor.AutoTokenizer = type("Offline", (), {"from_pretrained": staticmethod(lambda _n: tokenizer())})
    torch.manual_seed(3)
    policy = modeling_pi0.PI0Policy(config_of("MEAN_STD")).eval()
    for parameter in policy.parameters():  # the usual initialisation leaves biases and norms at their neutral values
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    tokenizer().save_pretrained(out / "tokenizer")
    expected = {}
    for mode in ("MEAN_STD", "MIN_MAX", "QUANTILES", "QUANTILE10", "RELATIVE"):
        config = config_of("MEAN_STD" if mode == "RELATIVE" else mode, relative=mode == "RELATIVE")
        pipelines = processor_pi0.make_pi0_pre_post_processors(config, statistics())
        folder = out / mode.lower()
        for pipeline in pipelines:
            pipeline.save_pretrained(folder)
        if mode == "MEAN_STD":
            policy.save_pretrained(folder)
        else:
            config.save_pretrained(folder)
        policy.config = config
        expected[f"actions.{mode.lower()}"] = answers(policy, pipelines, given, words).contiguous()
    policy.config = config_of("MEAN_STD")
    wide = torch.from_numpy(np.random.default_rng(8).integers(0, 256, (30, 50, 3), dtype=np.uint8))
    expected["wide"] = wide
    expected["wide.padded"] = resize_with_pad_torch(wide[None].float() / 255.0, IMAGE_PX, IMAGE_PX)[0].contiguous()
    versions = {name: importlib.metadata.version(name) for name in ("lerobot", "transformers", "torch")}
    save_file(given | expected, out / "expected.safetensors", metadata={**versions, "instruction": words})
    print(json.dumps(versions), sum(v.numel() for v in load_file(out / "mean_std" / "model.safetensors").values()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
