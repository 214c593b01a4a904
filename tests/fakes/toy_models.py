# SPDX-License-Identifier: Apache-2.0
"""Model directories of a tiny VLA, and what may or may not take its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from fakes.toy_vla import toy_trainer
from vla_policy.core.training.export import export, export_finetuned
from vla_policy.core.training.trainable import Trainable, expert_parameters


def toy_model(folder: Path) -> Path:
    """A sealed directory of a tiny VLA that has learnt nothing to speak of."""
    trainer = toy_trainer()
    trainer.advance()
    trainer.save(folder / "run")
    export(folder / "run", folder / "model", model_id="tiny")
    return folder / "model"


def other_expert(source: Path, out: Path) -> Path:
    """The same eyes and words, another action expert: may take its place."""
    vla = Trainable.load(source)
    with torch.no_grad():
        for parameter in expert_parameters(vla.model).values():
            parameter.mul_(1.1)
    vla.export(out, {})
    return out


def other_eyes(source: Path, out: Path) -> Path:
    """Another vision-language part: other features."""
    vla = Trainable.load(source)
    with torch.no_grad():
        for name, parameter in vla.model.named_parameters():
            if name.startswith("model.vlm."):
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    vla.export(out, {})
    return out


def other_statistics(source: Path, out: Path) -> Path:
    """Actions that mean other things by their numbers."""
    vla = Trainable.load(source)
    stats = vla.parts.stats
    action = replace(stats.action, std=tuple(2.0 * x for x in stats.action.std))
    export_finetuned(source, out, vla.model, {}, replace(stats, action=action))
    return out
