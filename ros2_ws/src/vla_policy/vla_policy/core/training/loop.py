# SPDX-License-Identifier: Apache-2.0
"""The optimiser loop that every training of a VLA shares: schedule, averaged weights, checkpoints that resume exactly.

A step is a pure function of (weights, moments, step number, inputs); whoever draws the inputs from (seed, step) gets a
run that goes on after a kill as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rl_methods.common.tensors import check_tensors
from vla_policy.core.tensor_files import read_tensors
from vla_policy.core.training.settings import LoopConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

WEIGHTS, AVERAGE, MOMENTS = "model.safetensors", "ema.safetensors", "optimizer.safetensors"
LOOP_FILES = (WEIGHTS, AVERAGE, MOMENTS)


@dataclass(frozen=True)
class StepMetrics:
    """What one step was.

    Attributes:
        step: its number, from 0.
        losses: by name; `loss` is what was minimised.
        grad_norm: before clipping.
        rate: learning rate.
    """

    step: int
    losses: Mapping[str, float]
    grad_norm: float
    rate: float


def draws(seed: int, step: int, process: int = 0) -> tuple[np.random.Generator, torch.Generator]:
    """Random numbers of a step: they depend on nothing that came before; each process of many has its own."""
    key = [seed, step] if process == 0 else [seed, step, process]
    return np.random.default_rng(key), torch.Generator().manual_seed((seed + 7919 * process) * 1_000_003 + step)


class TrainingLoop:
    """An objective, its optimiser, its averaged weights and the step counter.

    Args:
        objective: module whose call returns losses by name, `loss` among them; parameters that take no gradient are
            left alone and not stored.
        config: optimiser and schedule.
        accelerator: spreads the work over devices and processes; None computes where the objective is.
        bf16: autocast to bfloat16 on the CPU when there is no accelerator, which has a setting of its own.
    """

    def __init__(
        self, objective: nn.Module, config: LoopConfig, accelerator: Accelerator | None = None, *, bf16: bool = False
    ) -> None:
        self.objective, self.config, self.step = objective, config, 0
        self._accelerator, self._bf16 = accelerator, bf16
        self._forward: nn.Module = objective if accelerator is None else accelerator.prepare_model(objective)
        self._optimizer = torch.optim.AdamW(
            list(self._trained().values()),
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )
        self._average = self._copies() if config.ema_decay > 0.0 else {}

    def _trained(self) -> dict[str, nn.Parameter]:
        return {name: value for name, value in self.objective.named_parameters() if value.requires_grad}

    def weights(self) -> dict[str, Tensor]:
        """Everything that training changes, and the buffers, by name; views of the live tensors."""
        named = self.objective.named_parameters(remove_duplicate=False)
        frozen = {name for name, value in named if not value.requires_grad}
        return {name: value for name, value in self.objective.state_dict().items() if name not in frozen}

    def averaged(self) -> dict[str, Tensor]:
        """The weights to ship."""
        return self._average or self.weights()

    def advance(self, inputs: Any) -> StepMetrics:
        """One optimiser step.

        Raises:
            FloatingPointError: The gradient is not finite; nothing was changed.
        """
        step, rate = self.step, self.config.rate(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        losses = self.losses(inputs)
        if self._accelerator is None:
            losses["loss"].backward()  # type: ignore[no-untyped-call]
        else:
            self._accelerator.backward(losses["loss"])
        norm = torch.nn.utils.clip_grad_norm_(list(self._trained().values()), self.config.clip_norm)
        if not bool(torch.isfinite(norm)):
            raise FloatingPointError(f"the gradient of step {step} is not finite")
        self._optimizer.step()
        self._track()
        self.step += 1
        return StepMetrics(step, {name: float(value.detach()) for name, value in losses.items()}, float(norm), rate)

    def losses(self, inputs: Any) -> dict[str, Tensor]:
        """Losses of inputs with the weights as they are."""
        with self._autocast():
            losses: dict[str, Tensor] = self._forward(inputs)
        return losses

    def _autocast(self) -> Any:
        if self._accelerator is not None:
            return self._accelerator.autocast()
        return torch.autocast("cpu", torch.bfloat16) if self._bf16 else nullcontext()

    @torch.no_grad()
    def _track(self) -> None:
        if not self._average:
            return
        # a young average would remember the start: its decay grows with the step
        decay = min(self.config.ema_decay, (1.0 + self.step) / (10.0 + self.step))
        now = self.weights()
        names = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_([self._average[n] for n in names], [now[n] for n in names], 1.0 - decay)

    @contextmanager
    def with_average(self) -> Iterator[None]:
        """The averaged weights in the objective's place, until the block ends."""
        live = self._copies()
        self.install(self.averaged())
        try:
            yield
        finally:
            self.install(live)

    def restart_average(self) -> None:
        """Begin the average anew with the weights as they are."""
        if self.config.ema_decay > 0.0:
            self._average = self._copies()

    def install(self, weights: Mapping[str, Tensor], source: str = "weights") -> None:
        """Take weights over.

        Raises:
            CheckpointError: A name or a shape is not what it should be.
        """
        check_tensors(weights, self.weights(), source)
        self.objective.load_state_dict(dict(weights), strict=False)

    def _copies(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.weights().items()}

    # -- files ------------------------------------------------------------------------------------------------

    def save(self, directory: Path) -> None:
        """Write `LOOP_FILES`; whoever owns the checkpoint seals it."""
        save_file(_stored(self.weights()), directory / WEIGHTS)
        save_file(_stored(self.averaged()), directory / AVERAGE)
        save_file(_stored(self._moments()), directory / MOMENTS)

    def resume(self, directory: Path, step: int) -> None:
        """Go on from what `save` wrote after so many steps.

        Raises:
            CheckpointError: A file is absent, or does not fit.
        """
        self.install(read_tensors(directory / WEIGHTS), str(directory / WEIGHTS))
        if self._average:
            average = read_tensors(directory / AVERAGE)
            check_tensors(average, self._average, str(directory / AVERAGE))
            self._average = {name: average[name].to(old.device) for name, old in self._average.items()}
        self._restore_moments(read_tensors(directory / MOMENTS))
        self.step = step

    def _moments(self) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for name, parameter in self._trained().items():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                out[f"{key}/{name}"] = value
        return out

    def _restore_moments(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self._trained().items():
            keys = [k for k in ("step", "exp_avg", "exp_avg_sq") if f"{k}/{name}" in tensors]
            if keys:
                state = {k: tensors[f"{k}/{name}"].clone() for k in keys}
                # The step counter stays on the CPU, as torch keeps it.
                self._optimizer.state[parameter] = {
                    k: value if k == "step" else value.to(parameter.device) for k, value in state.items()
                }


def _stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
