# SPDX-License-Identifier: Apache-2.0
"""EXPO with eyes of its own: who trains them, what is asked of the data, and weights that act on images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fakes.policy_sets import packed
from fakes.rl_runs import write_method
from harness.ring import contract
from rl_methods.base import IMAGES, PROPRIO, PolicyInput, RuntimeConfig, ValidationContext
from rl_methods.common.batch import Batch
from rl_methods.common.critic import CriticConfig
from rl_methods.common.probes import probes
from rl_methods.common.weights import WeightsError
from rl_methods.config import read_method_config
from rl_methods.expo.actor import ExpoActor, ExpoActorConfig
from rl_methods.expo.algorithm import Expo, ExpoConfig
from rl_methods.expo.policy import ExpoPolicy
from vla_policy.core.steering.decide import decide
from vla_policy.core.steering.weight_store import WeightStore

SIZE = 16
CONTRACT = contract()
TRIAL = ValidationContext(CONTRACT, probes(CONTRACT), 2.0)
CALM = RuntimeConfig(explore=False)
CONFIG = ExpoConfig(
    features=6, steps=2, action_dim=3, proprio=4, cameras=1, encoder="images", image_size=SIZE, encoder_maps=4,
    encoder_outputs=8, shift=1, edit_knots=2, edit_hidden=(16,), best_of=4, backup_candidates=4,
    imitation_weight=1.0, refusal_weight=1.0, critic=CriticConfig(members=3, hidden=(16,)),
)  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learner(seed: int = 0, **changes: Any) -> Expo:
    torch.manual_seed(seed)
    return Expo(replace(CONFIG, **changes))


def batch(seed: int = 0, size: int = 8) -> Batch:
    random = generator(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(size, *shape, generator=random)

    def pictures() -> torch.Tensor:
        return torch.randint(0, 256, (size, 1, SIZE, SIZE, 3), generator=random, dtype=torch.uint8)

    ones, some = torch.ones(size), (torch.arange(size) % 2).float()
    return Batch(
        features=draw(6), actions=draw(2, 3), candidates=draw(4, 2, 3), noise=torch.zeros(size, 0), reward=some,
        mask=1.0 - some, discount=0.9 * ones, valid=ones, mc_return=float("nan") * ones, success=some, human=some,
        refused=some, proposed=draw(2, 3), next_features=draw(6), next_candidates=draw(4, 2, 3), proprio=draw(4),
        next_proprio=draw(4), images=pictures(), next_images=pictures(),
    )  # fmt: skip


def test_when_losses_are_derived_expect_the_eyes_moved_by_the_critic_alone() -> None:
    expo = learner()
    seen = expo.observed(batch(), generator())
    eyes = list(expo.acting.encoder.parameters())
    step, _ = expo.critic_loss(seen, generator(), 0.0)
    moved = torch.autograd.grad(step.loss, eyes, retain_graph=True)
    assert all(float(each.abs().sum()) > 0.0 for each in moved[-4:]) and not seen.next_features.requires_grad
    before = [weight.detach().clone() for weight in (*eyes, *expo.edit.parameters())]
    norms = expo.update(batch(), generator())
    assert set(norms) >= {"critic/norm", "edit/norm"}
    after = [*eyes, *expo.edit.parameters()]
    assert sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True)) > len(eyes)


def test_when_the_edit_policy_learns_alone_expect_the_eyes_as_they_were() -> None:
    expo = learner()
    seen = expo.observed(batch(), generator())
    steps, _ = expo.edit_losses(replace(seen, features=seen.features.detach()), generator())
    for step in steps:
        eyes = list(expo.acting.encoder.parameters())
        assert all(each is None for each in torch.autograd.grad(step.loss, eyes, allow_unused=True, retain_graph=True))


def test_when_features_of_the_vla_change_expect_the_same_state_and_with_other_images_another() -> None:
    expo, rows = learner(shift=0), batch()
    one = expo.observed(rows, generator()).features
    assert torch.equal(one, expo.observed(replace(rows, features=rows.features + 1.0), generator()).features)
    assert not torch.allclose(one, expo.observed(replace(rows, images=rows.images // 2), generator()).features)
    assert one.shape == (8, 8 + 4)


def test_when_a_learner_is_restored_expect_it_to_go_on_as_if_it_had_not_stopped() -> None:
    first, second = learner(0), learner(9)
    first.update(batch(1), generator(1))
    second.restore(first.state())
    for each in (first, second):
        each.update(batch(2), generator(2))
    one, other = first.state(), second.state()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(name.startswith("encoder/") for name in one)


@pytest.mark.parametrize(("encoder", "asked"), [("images", True), ("features", False)])
def test_when_the_method_file_names_an_encoder_expect_images_in_replay_only_with_its_own(
    tmp_path: Path, encoder: str, asked: bool
) -> None:
    block = {"edit_knots": 2, "edit_hidden": [16], "encoder": encoder, "image_size": SIZE, "encoder_maps": 4}
    file = write_method(tmp_path, {"expo": block, "critic": {"members": 3, "hidden": [16]}, "schedule": {}})
    config = read_method_config(file)
    shape = config.shape_of(CONTRACT, 4)
    expo = Expo.build(config, shape)
    assert bool(expo.data_spec.fields >= (IMAGES | PROPRIO)) == asked
    assert (shape.cameras, expo.acting.config.cameras) == (((len(CONTRACT.cameras),) * 2) if asked else (0, 0))
    assert any(name.startswith("encoder") for name in expo.policy_weights()) == asked


def actor_config(**changes: Any) -> ExpoActorConfig:
    fields: dict[str, Any] = {
        "features": CONTRACT.feature_dim, "action_dim": CONTRACT.action_dim, "members": 3, "hidden": (16,),
        "edit_knots": 2, "edit_hidden": (16,), "margin": -1e9, "cameras": len(CONTRACT.cameras),
        "proprio": CONTRACT.proprio_dim, "image_size": SIZE, "encoder_maps": 4, "encoder_outputs": 8,
    }  # fmt: skip
    return ExpoActorConfig(**fields | changes)


def policy(config: ExpoActorConfig) -> ExpoPolicy:
    torch.manual_seed(0)
    tensors = ExpoActor(config).state_dict()
    shaken = {n: t + 0.3 * torch.randn_like(t) if "scaler" not in n else t for n, t in tensors.items()}
    method = ExpoPolicy()
    store = WeightStore(method, "expo")
    store.take(store.check(*packed(CONTRACT, shaken, config, version=1), TRIAL))
    return method


def given(**changes: Any) -> PolicyInput:
    return replace(probes(CONTRACT)[1], **changes)


def test_when_images_change_expect_another_edit_and_with_other_features_the_same() -> None:
    method, one = policy(actor_config()), given()
    dark = replace(one, images=np.zeros_like(one.images))
    other = replace(one, features=one.features + 1.0)
    chunks = [decide(method, each, CALM).chunk for each in (one, dark, other)]
    assert not np.allclose(chunks[0], chunks[1]) and np.array_equal(chunks[0], chunks[2])


def test_when_there_are_no_images_expect_a_refusal_that_names_the_setting() -> None:
    with pytest.raises(WeightsError, match="encoder says features"):
        policy(actor_config()).act(given(images=np.zeros(0, np.uint8)), CALM)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"cameras": 1 + len(CONTRACT.cameras)}, "cameras is"), ({"proprio": 1 + CONTRACT.proprio_dim}, "proprio is")],
)
def test_when_weights_are_of_another_robot_expect_a_refusal_that_names_what_differs(
    changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(WeightsError, match=named):
        policy(actor_config(**changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"encoder": "eyes"}, "encoder is 'eyes'"),
        ({"shift": SIZE}, f"shift is {SIZE}"),
        ({"image_size": 10}, "image_size is 10"),
    ],
)
def test_when_a_setting_cannot_work_expect_its_name_and_what_is_allowed(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        learner(**changes)
