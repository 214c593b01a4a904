# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that LeRobot wrote give LeRobot's own actions, in the robot's names and units."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from harness.published import (
    DATA,
    JOINTS,
    WORDS,
    as_lerobot,
    checkpoint,
    expected,
    mapping_text,
    observation,
)
from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends import load_backend
from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.images import fit
from vla_policy.core.serving import contract_of
from vla_policy.core.training.trainable import Trainable

CASES = ("mean_std", "min_max", "quantiles", "quantile10", "relative")
TOLERANCE = 2e-6  # of the largest action: LeRobot and we add up float32 in another order


def actions(backend, noise=None):
    """Absolute actions in degrees and percent."""
    seen = observation()
    chunks = backend.denoise(backend.prefix(seen), expected()["noise"] if noise is None else noise)
    return as_lerobot(backend.spec.denormalise(chunks), seen.proprio)


def agree(found, case="mean_std", tolerance=TOLERANCE):
    wanted = expected()[f"actions.{case}"]
    assert np.abs(found - wanted).max() < tolerance * np.abs(wanted).max()


def edited(folder, name, change):
    body = json.loads((folder / name).read_text())
    change(body)
    (folder / name).write_text(json.dumps(body))
    return str(folder)


@pytest.mark.parametrize("case", CASES)
def test_when_lerobot_wrote_a_checkpoint_expect_its_own_actions_for_each_kind_of_normalisation(case, tmp_path):
    agree(actions(load_backend("pi0", str(checkpoint(tmp_path / case, case)))), case)


def test_when_the_data_are_read_expect_them_to_say_which_versions_wrote_them():
    with safe_open(DATA / "expected.safetensors", framework="np") as file:
        assert file.metadata()["lerobot"] == "0.6.1" and file.metadata()["instruction"] == WORDS


def test_when_the_robot_has_another_order_expect_its_order_in_actions_and_noise(tmp_path):
    folder = checkpoint(tmp_path / "m")
    order = (*JOINTS[1:7], JOINTS[0], JOINTS[7])
    backend, plain = load_backend("pi0", str(folder), joint_names=order), load_backend("pi0", str(folder))
    seen, noise = observation(), expected()["noise"]
    places = [*range(1, 7), 0, *range(7, 32)]
    moved = type(seen)(seen.images, seen.proprio[places[:8]], WORDS)
    found = backend.denoise(backend.prefix(moved), noise[..., places])
    np.testing.assert_allclose(found, plain.denoise(plain.prefix(seen), noise)[..., places[:8]], atol=1e-5)
    assert contract_of(backend.spec, order, "").joint_names == order
    with pytest.raises(ValueError, match="joint_names"):
        contract_of(plain.spec, order, "")


def test_when_statistics_are_among_the_weights_expect_the_same_actions(tmp_path):
    folder = checkpoint(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    stats = load_file(next(folder.glob("policy_preprocessor_step_*.safetensors")))
    for prefix, feature in (("normalize_inputs", "observation.state"), ("unnormalize_outputs", "action")):
        for name in ("mean", "std"):
            key = f"{prefix}.buffer_{feature.replace('.', '_')}.{name}"
            tensors[key] = stats[f"{feature}.{name}"].clone()
    for path in folder.glob("policy_*"):
        path.unlink()
    save_file(tensors, folder / "model.safetensors")
    agree(actions(load_backend("pi0", str(folder))))


def test_when_names_are_those_of_older_versions_expect_the_same_actions(tmp_path):
    folder = checkpoint(tmp_path / "m")
    old = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        name = name.replace("paligemma.model.language_model.", "paligemma.language_model.model.")
        name = name.replace("paligemma.model.", "paligemma.").replace(
            "paligemma.lm_head", "paligemma.language_model.lm_head"
        )
        old[name] = tensor
    old.pop("model.paligemma_with_expert.paligemma.language_model.model.embed_tokens.weight")
    words = old["model.paligemma_with_expert.paligemma.language_model.lm_head.weight"]
    whole = load_file(folder / "model.safetensors")
    words.copy_(whole["model.paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"])
    save_file(old, folder / "model.safetensors")
    agree(actions(load_backend("pi0", str(folder))))


def test_when_weights_are_in_shards_expect_the_same_actions_and_a_missing_shard_named(tmp_path):
    folder = checkpoint(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names, where = sorted(tensors), {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / shard)
        where |= dict.fromkeys(part, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    agree(actions(load_backend("pi0", str(folder))))
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00002"):
        load_backend("pi0", str(folder))


def openpi(folder, **more):
    """The same network as openpi's converter leaves it, statistics as its compute_norm_stats writes them."""
    checkpoint(
        folder, mapping=mapping_text(cameras=OPENPI_CAMERAS, more="".join(f"{k}: {v}\n" for k, v in more.items()))
    )
    tensors = {name.removeprefix("model."): value for name, value in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")
    stats = load_file(next(folder.glob("policy_preprocessor_step_*.safetensors")))
    names = {"state": "observation.state", "actions": "action"}
    kinds = ("mean", "std", "q01", "q99")
    pad = {"mean": 0.0, "std": 0.0, "q01": 0.0, "q99": 0.0}
    body = {
        name: {kind: [*stats[f"{feature}.{kind}"].tolist(), *[pad[kind]] * 24] for kind in kinds}
        for name, feature in names.items()
    }
    (folder / "assets" / "mine").mkdir(parents=True)
    (folder / "assets" / "mine" / "norm_stats.json").write_text(json.dumps({"norm_stats": body}))
    for path in folder.glob("policy_*"):
        path.unlink()
    config = {"action_dim": 32, "action_horizon": 16, "paligemma_variant": "gemma_2b", "precision": "float32"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


OPENPI_CAMERAS = {"base_0_rgb": "front", "left_wrist_0_rgb": "wrist", "right_wrist_0_rgb": "null"}


@pytest.mark.parametrize(("kind", "case"), [("mean_std", "mean_std"), ("quantiles", "quantiles")])
def test_when_openpi_wrote_a_checkpoint_expect_the_actions_of_its_statistics(kind, case, tmp_path):
    backend = load_backend("pi0", str(openpi(tmp_path / "m", normalisation=kind)), num_steps=4)
    agree(actions(backend), case, 1e-5)  # its 1e-6 keeps a division by zero away, LeRobot's 1e-8


def test_when_openpi_left_no_config_expect_the_horizon_of_the_mapping(tmp_path):
    folder = openpi(tmp_path / "m", horizon=16)
    (folder / "config.json").unlink()
    agree(actions(load_backend("pi0", str(folder), num_steps=4)), "mean_std", 1e-5)
    (folder / "whetstone.yaml").write_text(mapping_text(cameras=OPENPI_CAMERAS))
    with pytest.raises(CheckpointError, match="horizon"):
        load_backend("pi0", str(folder))


def test_when_the_network_is_bfloat16_expect_nearly_the_same_actions(tmp_path):
    found = actions(load_backend("pi0", str(checkpoint(tmp_path / "m")), dtype="bfloat16"))
    agree(found, tolerance=0.03)


def test_when_a_camera_is_wide_expect_it_padded_as_lerobot_pads():
    given = expected()
    found = fit(given["wide"], 28, 28, crop="pad").astype(np.float32) / 255.0
    assert np.abs(found - given["wide.padded"]).max() <= 1.0 / 255.0


def test_when_a_chunk_plays_expect_guidance_towards_it_in_the_models_own_numbers(tmp_path):
    backend = load_backend("pi0", str(checkpoint(tmp_path / "m")))
    seen, noise = observation(), expected()["noise"]
    context = backend.prefix(seen)
    old = backend.denoise(context, noise[1:])[0]
    free, guided = (backend.denoise(context, noise[:1], prefix)[0] for prefix in (None, ChunkPrefix(old, 3)))
    near, far = np.abs(guided[:3] - old[:3]).mean(), np.abs(free[:3] - old[:3]).mean()
    assert near < 0.5 * far


def test_when_actions_are_absolute_expect_training_refused_and_relative_ones_trained(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be trained"):
        Trainable.load(checkpoint(tmp_path / "absolute"))
    vla = Trainable.load(checkpoint(tmp_path / "relative", "relative"))
    vla.export(tmp_path / "new", {"finetuned": {}})
    served = load_backend("pi0", str(tmp_path / "new"), num_steps=4)
    agree(actions(served), "relative")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("config.json", lambda b: b.update(type="pi05"), "pi05"),
        ("config.json", lambda b: b.update(type="smolvla"), "smolvla"),
        ("config.json", lambda b: b.pop("chunk_size"), "chunk_size"),
        ("config.json", lambda b: b.update(image_resolution=[224, 224]), "image_resolution"),
        ("config.json", lambda b: b.update(adapt_to_pi_aloha=True), "adapt_to_pi_aloha"),
        ("config.json", lambda b: b["output_features"].pop("action"), "action"),
        ("policy_preprocessor.json", lambda b: b["steps"][6]["config"]["norm_map"].update(STATE="ROBUST"), "ROBUST"),
        ("policy_preprocessor.json", lambda b: b["steps"].append({"registry_name": "my_step"}), "my_step"),
        ("policy_preprocessor.json", lambda b: b["steps"][6].update(state_file="../x.safetensors"), "state_file"),
        ("policy_preprocessor.json", lambda b: b["steps"][6].pop("state_file"), "observation.state"),
    ],
)
def test_when_a_directory_says_what_cannot_be_served_expect_it_named(name, change, words, tmp_path):
    with pytest.raises(CheckpointError, match=words):
        load_backend("pi0", edited(checkpoint(tmp_path / "m"), name, change))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("dt_s: 0.1", "dt_s: .nan", "dt_s"),
        ("dt_s: 0.1\n", "", "dt_s"),
        ("dt_s: 0.1", "dt_s: 0.1\nspeed: 2", "speed"),
        ("action_space: joint", "action_space: cartesian", "relative to the TCP"),
        ("observation.images.hand: wrist", "observation.images.hand: front", "distinct"),
        ("observation.images.hand: wrist", "observation.images.wrong: wrist", "observation.images.hand"),
        ("  - {name: panda_joint7, unit: deg}\n", "", "7 dimensions"),
        ("unit: percent", "unit: furlong", "unit"),
        ("{name: panda_joint3, unit: deg}", "{name: panda_joint2, unit: deg}", "twice"),
        ("{name: panda_joint3, unit: deg}", "{name: panda_joint3, unit: deg, scale: 0.0}", "scale"),
    ],
)
def test_when_a_mapping_cannot_be_used_expect_the_key_named(before, after, words, tmp_path):
    text = mapping_text()
    assert before in text
    folder = checkpoint(tmp_path / "m", mapping=text.replace(before, after))
    with pytest.raises(CheckpointError, match=words):
        load_backend("pi0", str(folder))


def test_when_a_mapping_contradicts_the_checkpoint_expect_refusal(tmp_path):
    folder = checkpoint(tmp_path / "m", "relative", mapping_text("absolute"))
    with pytest.raises(CheckpointError, match="actions, gripper"):
        load_backend("pi0", str(folder))


def test_when_only_pickles_are_there_expect_them_left_alone(tmp_path):
    folder = checkpoint(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="only safetensors"):
        load_backend("pi0", str(folder))
