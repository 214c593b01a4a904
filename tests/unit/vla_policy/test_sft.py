# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning moves what it may, towards what it is shown, goes on after a kill, and ends in what can be served."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends.pocket import PocketBackend, load_pocket
from vla_policy.core.training.loop import StepMetrics
from vla_policy.core.training.objective import FlowInputs, FlowObjective, flow_inputs
from vla_policy.core.training.run import LossReport
from vla_policy.core.training.settings import SftConfig
from vla_policy.core.training.sft import SftData, SftRun
from vla_policy.core.training.trainable import Trainable, expert_parameters
from vla_policy.core.training.windows import ImageWindows, PrefixRow, Windows

ALL, NONE = torch.arange(4), torch.arange(0)


def actions_of(spec) -> torch.Tensor:
    """A hand that closes while the arm goes up."""
    actions = torch.zeros(spec.chunk_shape)
    actions[:, 2], actions[:, -1] = 1.0, -1.0
    return actions


@pytest.fixture
def windows(pocket, observation):
    context = pocket.prefix(observation)
    return Windows.of([(context.prefix, context.state, actions_of(pocket.spec))] * 4)


def chunk(backend, observation):
    noise = np.random.default_rng(0).standard_normal((16, *backend.spec.noise_shape)).astype(np.float32)
    return backend.denoise(backend.prefix(observation), noise).mean(axis=(0, 1))


def config(**changes) -> SftConfig:
    return SftConfig(**({"steps": 6, "batch": 2, "save_every": 2} | changes))


def tuned(directory: Path, data: SftData, folder: Path, settings: SftConfig, report: LossReport | None = None):
    """A fine-tuning of what is in a directory; the trained VLA."""
    vla = Trainable.load(directory)
    vla.freeze(settings.scope, settings.lora)
    vla.install(SftRun(vla.model, data, settings, folder).run(report))
    return vla


def expert(vla: Trainable) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in expert_parameters(vla.model).items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_when_fine_tuned_expect_what_was_shown_and_the_same_features(
    pocket, pocket_directory, observation, windows, tmp_path
):
    losses: list[float] = []
    settings = config(steps=150, batch=8, noises=4, learning_rate=5e-3, ema_decay=0.0)
    report = LossReport(lambda metrics: losses.append(metrics.losses["loss"]))
    vla = tuned(pocket_directory, SftData(windows, ALL, NONE), tmp_path, settings, report)
    served = PocketBackend(vla.parts)
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    wanted = windows.actions[0].mean(0).numpy()
    assert np.abs(chunk(served, observation) - wanted).max() < 0.3 < np.abs(chunk(pocket, observation) - wanted).max()
    np.testing.assert_array_equal(
        served.features(served.prefix(observation)), pocket.features(pocket.prefix(observation))
    )
    before = dict(pocket.model.named_parameters())
    eyes = set(before) - set(expert_parameters(pocket.model))
    assert eyes and all(torch.equal(dict(vla.model.named_parameters())[name], before[name]) for name in eyes)


class Killed(Exception):  # noqa: N818 - it is no error of the code under test
    """The process ends here."""


def test_when_killed_and_run_again_expect_the_weights_of_an_unbroken_run(pocket_directory, windows, tmp_path):
    data = SftData(windows, ALL, NONE)
    whole = expert(tuned(pocket_directory, data, tmp_path / "whole", config()))

    def kill(metrics: StepMetrics) -> None:
        if metrics.step == 4:  # after the checkpoint of step 4, within the next two
            raise Killed

    with pytest.raises(Killed):
        tuned(pocket_directory, data, tmp_path / "broken", config(), LossReport(kill))
    steps: list[int] = []
    again = tuned(
        pocket_directory,
        data,
        tmp_path / "broken",
        config(),
        LossReport(lambda metrics: steps.append(metrics.step)),
    )
    assert steps == [4, 5]
    assert same(whole, expert(again))
    assert not same(whole, expert(tuned(pocket_directory, data, tmp_path / "other", config(seed=1))))


def test_when_gone_on_with_other_settings_expect_their_name(pocket_directory, windows, tmp_path):
    data = SftData(windows, ALL, NONE)
    tuned(pocket_directory, data, tmp_path, config())
    with pytest.raises(CheckpointError, match="another training: config"):
        tuned(pocket_directory, data, tmp_path, config(batch=3))


@pytest.mark.parametrize("steps", [1, 2, 3, 11])
def test_when_there_are_few_steps_expect_a_loss_of_each(pocket_directory, windows, tmp_path, steps):
    losses: list[StepMetrics] = []
    tuned(pocket_directory, SftData(windows, ALL, NONE), tmp_path, config(steps=steps), LossReport(losses.append))
    assert [metrics.step for metrics in losses] == list(range(steps))


def test_when_windows_are_put_aside_expect_their_loss_to_fall_and_none_of_them_learnt_from(
    pocket, pocket_directory, observation, tmp_path
):
    context, actions = pocket.prefix(observation), actions_of(pocket.spec)
    poison = torch.full_like(actions, float("nan"))
    rows = [(context.prefix, context.state, x) for x in (actions, actions, actions, poison)]
    held: list[float] = []
    report = LossReport(held_out=lambda _step, loss: held.append(loss))
    settings = config(steps=40, learning_rate=5e-3, save_every=20, ema_decay=0.5)
    tuned(pocket_directory, SftData(Windows.of(rows), torch.arange(2), torch.tensor([2])), tmp_path, settings, report)
    assert len(held) == 3 and held[-1] < 0.7 * held[0]


def test_when_a_window_weighs_nothing_beside_another_expect_the_other_ones_loss(pocket, observation):
    context, zeros = pocket.prefix(observation), torch.zeros(pocket.spec.chunk_shape)
    rows = [PrefixRow(context.prefix, context.state, zeros), PrefixRow(context.prefix, context.state, zeros + 9, 1e-9)]
    windows, objective = Windows.of(rows), FlowObjective(pocket.model)
    both = flow_inputs(windows.take(torch.arange(2)), 3, torch.Generator().manual_seed(0))
    first = FlowInputs(windows.take(torch.arange(1)), both.noise[:3], both.time[:3])
    with torch.no_grad():
        torch.testing.assert_close(objective(both)["loss"], objective(first)["loss"])


def test_when_the_whole_vla_learns_expect_the_loss_of_the_frozen_one_first_and_other_eyes_after(
    pocket, pocket_directory, observation, windows, tmp_path
):
    vla = Trainable.load(pocket_directory)
    rows = [vla.image_row(observation, actions_of(pocket.spec).numpy(), 1.0)] * 4
    images, first = ImageWindows.of(rows), torch.tensor([0])
    drawn = [flow_inputs(x.take(first), 2, torch.Generator().manual_seed(3)) for x in (windows, images)]
    with torch.no_grad():
        frozen, whole = (float(FlowObjective(pocket.model)(inputs)["loss"]) for inputs in drawn)
    assert whole == pytest.approx(frozen, rel=1e-2)  # keys and values are kept in half precision
    trained = tuned(pocket_directory, SftData(images, ALL, NONE), tmp_path, config(scope="whole"))
    before = dict(pocket.model.named_parameters())
    changed = {name for name, value in trained.model.named_parameters() if not torch.equal(value, before[name])}
    assert any(name.startswith("model.vlm.") for name in changed)
    trained.export(tmp_path / "whole", {})
    versions = [load_pocket(folder).feature_version for folder in (pocket_directory, tmp_path / "whole")]
    assert not versions[0], "features that the model was made with"
    assert versions[1], "features that mean something else"


def test_when_adapters_learn_expect_them_melted_into_the_expert_and_gone(
    pocket, pocket_directory, observation, windows, tmp_path
):
    settings = config(steps=30, learning_rate=1e-2, lora=2, ema_decay=0.0)
    vla = tuned(pocket_directory, SftData(windows, ALL, NONE), tmp_path / "work", settings)
    before = pocket.model.state_dict()
    assert set(vla.model.state_dict()) == set(before)
    changed = {name for name, value in vla.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and not any(name.startswith("model.vlm.") for name in changed)
    # what an adapter of rank 2 has changed has rank 2
    name = next(name for name in changed if "q_proj" in name)
    singular = torch.linalg.svdvals(vla.model.state_dict()[name] - before[name])
    assert float(singular[2]) < 1e-4 * float(singular[0])


def test_when_exported_expect_a_directory_that_plays_the_new_chunks(pocket_directory, observation, windows, tmp_path):
    vla = tuned(pocket_directory, SftData(windows, ALL, NONE), tmp_path / "w", config(steps=20, learning_rate=5e-3))
    vla.export(tmp_path / "new", {"finetuned": {"steps": 20}})
    served, old = (PocketBackend.load(str(folder)) for folder in (tmp_path / "new", pocket_directory))
    trained = PocketBackend(vla.parts)
    np.testing.assert_allclose(chunk(served, observation), chunk(trained, observation), atol=0.05)  # bfloat16
    assert np.abs(chunk(served, observation) - chunk(old, observation)).max() > 0.1
    manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
    assert (manifest["model_id"], manifest["finetuned"]) == ("tiny-finetuned", {"steps": 20})
    assert served.spec.instructions == old.spec.instructions


@pytest.mark.parametrize(
    "change",
    [{"steps": 0}, {"batch": 0}, {"learning_rate": float("nan")}, {"average": 0}, {"lora": -1}, {"ema_decay": 1.0},
     {"warmup_share": float("nan")}, {"scope": "hand"}, {"average": 2, "lora": 4}],
)  # fmt: skip
def test_when_a_setting_cannot_work_expect_its_name_in_the_error(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        SftConfig(**change)


def test_when_there_is_nothing_to_learn_from_expect_that_said(pocket, windows, tmp_path):
    with pytest.raises(ValueError, match="no window"):
        Windows.of([])
    with pytest.raises(ValueError, match="put aside"):
        SftRun(pocket.model, SftData(windows, NONE, ALL), config(), tmp_path)


def test_when_a_directory_holds_no_model_expect_its_name(tmp_path):
    with pytest.raises(CheckpointError, match="no model that can be trained"):
        Trainable.load(tmp_path)
