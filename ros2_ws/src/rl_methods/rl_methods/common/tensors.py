# SPDX-License-Identifier: Apache-2.0
"""State of modules and optimisers as named tensors, and the check that foreign tensors fit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rl_methods.common.checkpoint_error import CheckpointError


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Refuses missing, extra, mis-shaped and non-finite tensors.

    Raises:
        CheckpointError: with the first name that is wrong.
    """
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing:
        raise CheckpointError(f"{source}: {len(missing)} tensors are missing, first {missing[0]!r}")
    if extra:
        raise CheckpointError(f"{source}: {len(extra)} tensors are unknown, first {extra[0]!r}")
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{source}: {name!r} has shape {tuple(tensor.shape)}, wanted {tuple(expected[name].shape)}"
            )
        wanted = expected[name]
        if tensor.is_floating_point() != wanted.is_floating_point():
            raise CheckpointError(f"{source}: {name!r} has type {tensor.dtype}, wanted {wanted.dtype}")
        # A number of a wider type may not fit into that of the model.
        if wanted.is_floating_point() and not bool(torch.isfinite(tensor.to(wanted.dtype)).all()):
            raise CheckpointError(f"{source}: {name!r} is not finite")


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts, named by the parameter's place."""
    states = optimizer.state_dict()["state"]
    return {f"{place}/{key}": torch.as_tensor(value).clone() for place, s in states.items() for key, value in s.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Takes back what `optimizer_state` gave; hyperparameters stay those of the optimiser."""
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        place, key = name.split("/")
        states.setdefault(int(place), {})[key] = value.clone()
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries below `prefix/`, without it."""
    start = prefix + "/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def state_of(modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
    """All tensors of some modules and optimisers, under their names."""
    out: dict[str, Tensor] = {}
    for name, module in modules.items():
        out |= {f"{name}/{key}": value.detach().clone() for key, value in module.state_dict().items()}
    for name, optimizer in optimizers.items():
        out |= {f"{name}/{key}": value for key, value in optimizer_state(optimizer).items()}
    return out


def restore(
    tensors: Mapping[str, Tensor], modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> None:
    """Takes back what `state_of` gave.

    Raises:
        CheckpointError: A module's tensors are missing, unknown, of another shape or not finite.
    """
    for name, module in modules.items():
        check_tensors(part(tensors, name), module.state_dict(), name)
    for name, module in modules.items():
        module.load_state_dict(part(tensors, name))
    for name, optimizer in optimizers.items():
        restore_optimizer(optimizer, part(tensors, name))
