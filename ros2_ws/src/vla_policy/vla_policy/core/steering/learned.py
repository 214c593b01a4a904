# SPDX-License-Identifier: Apache-2.0
"""The methods whose weights come from a learner: `expo` and `dsrl`.

Legend: N candidates, H chunk length, A action dims, C executed steps, F features.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from vla_policy.core.serving import gaussian
from vla_policy.core.steering.architecture import Config, config_of
from vla_policy.core.steering.dsrl import DsrlActor, DsrlActorConfig
from vla_policy.core.steering.expo import ExpoActor, ExpoActorConfig, Rule
from vla_policy.core.steering.protocol import Choice, FloatArray, Kind, Ready, Situation, Trial, Tuning
from vla_policy.core.steering.scoring import Reduce
from vla_policy.core.steering.weights import PolicySet, WeightsError

_ROUNDING = 1e-5
_LAPS = 16  # draws of noise that are remembered until their proposal comes


class ExpoMethod:
    """Best of candidates and edited candidates, by a critic."""

    def __init__(self) -> None:
        """Start without weights."""
        self._ready: Ready | None = None

    @property
    def version(self) -> int:
        """Of the weights that decide, 0 for none."""
        return _version(self._ready)

    def prepare(self, weights: PolicySet, trial: Trial) -> Ready:
        """Builds the actor and tries every edit; see `Learned`."""
        contract = trial.contract
        config = _config(ExpoActorConfig, weights)
        _fits("features", config.features, contract.feature_dim)
        _fits("action_dim", config.action_dim, contract.action_dim)
        if config.steps > contract.horizon:
            raise WeightsError("shape", f"steps is {config.steps}, a chunk has {contract.horizon}")
        if config.edit and max(config.edit_scale) > trial.edit_limit:
            raise WeightsError("probe", f"edits up to {max(config.edit_scale)}, allowed: {trial.edit_limit}")
        actor = _load(ExpoActor, config, weights)
        for situation in trial.situations:
            _try_expo(actor, situation)
        return Ready(weights.manifest, actor)

    def install(self, ready: Ready) -> None:
        """One reference changes: a decision reads it once."""
        self._ready = ready

    def choose(self, situation: Situation, tuning: Tuning) -> Choice:
        """The arg max, or the first candidate while there is no critic."""
        ready = self._ready
        if ready is None:
            return Choice(situation.candidates[0], 0)
        pick = ready.actor.choose(
            _tensor(situation.features), _tensor(situation.candidates), _generator(situation.generator()),
            rule=_rule(ready.actor.config, tuning), share=tuning.edit_scale, explore=tuning.explore,
        )  # fmt: skip
        return Choice(
            chunk=pick.chunk.numpy(),
            candidate=pick.candidate,
            kind=Kind.EDITED if pick.edited else Kind.BASE,
            value=float(pick.scores[pick.index]),
            scores=pick.scores.numpy(),
            policy_version=ready.manifest.version,
        )


class DsrlMethod:
    """The first candidate, from noise that a policy chose."""

    def __init__(self) -> None:
        """Start without weights: the VLA's own noise."""
        self._ready: Ready | None = None
        self._drawn: OrderedDict[tuple[int, int], int] = OrderedDict()  # (seed, sequence) -> version

    @property
    def version(self) -> int:
        """Of the weights that decide, 0 for none."""
        return _version(self._ready)

    def prepare(self, weights: PolicySet, trial: Trial) -> Ready:
        """Builds the actor and tries its noise; see `Learned`."""
        contract = trial.contract
        config = _config(DsrlActorConfig, weights)
        _fits("features", config.features, contract.feature_dim)
        _fits("noise_dim", config.noise_dim, contract.action_dim)
        _fits("horizon", config.horizon, contract.horizon)
        actor = _load(DsrlActor, config, weights)
        for situation in trial.situations:
            for explore in (False, True):
                noise = actor.noise(_tensor(situation.features), 4, _generator(situation.generator()), explore=explore)
                _within(noise, torch.zeros(()), torch.tensor(actor.largest()), "noise")
        return Ready(weights.manifest, actor)

    def install(self, ready: Ready) -> None:
        """One reference changes: a decision reads it once."""
        self._ready = ready

    def noise(
        self, features: FloatArray, shape: tuple[int, int, int], seed: int, sequence: int, tuning: Tuning
    ) -> FloatArray:
        """The policy's noise, or what the VLA would have drawn while there is no policy."""
        ready = self._ready
        self._drawn[seed, sequence] = _version(ready)
        while len(self._drawn) > _LAPS:
            self._drawn.popitem(last=False)
        if ready is None:
            return gaussian(shape, seed, sequence)
        generator = _generator(np.random.default_rng([seed, sequence, 1]))
        drawn: Tensor = ready.actor.noise(_tensor(features), shape[0], generator, explore=tuning.explore)
        return drawn.numpy()

    def choose(self, situation: Situation, _tuning: Tuning) -> Choice:
        """The first candidate, said to be of the version that drew its noise."""
        version = self._drawn.get((situation.seed, situation.sequence), 0) if situation.noise_steered else 0
        kind = Kind.NOISE_STEERED if version else Kind.BASE
        return Choice(situation.candidates[0], 0, kind, policy_version=version)


def _rule(trained: ExpoActorConfig, tuning: Tuning) -> Rule:
    """As the method was trained, unless a person says otherwise."""
    return Rule(
        best_of=tuning.n_candidates,
        select=Reduce(tuning.select or trained.select),
        margin=trained.margin if tuning.margin < 0.0 else tuning.margin,
        base_margin=trained.base_margin if tuning.base_margin < 0.0 else tuning.base_margin,
    )


def _version(ready: Ready | None) -> int:
    return 0 if ready is None else ready.manifest.version


def _config(kind: type[Config], weights: PolicySet) -> Config:
    try:
        return config_of(kind, weights.architecture)
    except ValueError as error:
        raise WeightsError("architecture", str(error)) from error


def _fits(name: str, found: int, expected: int) -> None:
    if found != expected:
        raise WeightsError("shape", f"{name} is {found}, the contract says {expected}")


def _load(kind: type[nn.Module], config: ExpoActorConfig | DsrlActorConfig, weights: PolicySet) -> nn.Module:
    """An actor with those weights. What came bounds what is allocated, whatever the architecture announces."""
    came = sum(tensor.numel() for tensor in weights.tensors.values())
    if config.size() > came:
        raise WeightsError("shape", f"{came} numbers came, the architecture has at least {config.size()}")
    actor = kind(config)
    _check_fit(weights.tensors, actor.state_dict())
    actor.load_state_dict(dict(weights.tensors), assign=True)
    return actor.eval().requires_grad_(requires_grad=False)


def _check_fit(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """The same names, shapes and types; that the numbers are finite was seen when they were unpacked."""
    if odd := sorted(set(found) ^ set(expected)):
        raise WeightsError("shape", f"{len(odd)} tensors are missing or unknown, first {odd[0]!r}")
    for name, tensor in found.items():
        wanted = expected[name]
        if tensor.shape != wanted.shape:
            raise WeightsError("shape", f"{name!r} has shape {tuple(tensor.shape)}, expected {tuple(wanted.shape)}")
        if tensor.dtype != wanted.dtype:
            raise WeightsError("dtype", f"{name!r} is {tensor.dtype}, expected {wanted.dtype}")


def _try_expo(actor: ExpoActor, situation: Situation) -> None:
    """Every candidate, edited with and without noise: chunks inside the bounds, values of all critics finite."""
    config, generator = actor.config, _generator(situation.generator())
    base = _tensor(situation.candidates)[:, : config.steps].flatten(1)  # [N, C * A]
    features = actor.scaler(_tensor(situation.features))
    choices = [base]
    if config.edit:
        bound = torch.tensor(config.edit_scale).expand(config.action_dim).repeat(config.steps)
        for explore in (False, True):
            seen = features.expand(len(base), -1)
            choices.append(base + actor.change(seen, base, generator, share=1.0, explore=explore))
            _within(choices[-1], base, bound, "chunk")
    values = actor.scoring.values(actor.critic, features[None], torch.cat(choices)[None])
    if not bool(torch.isfinite(values).all()):
        raise WeightsError("probe", "a value on trial is not finite")


def _within(found: Tensor, base: Tensor, bound: Tensor, what: str) -> None:
    if not bool(torch.isfinite(found).all()):
        raise WeightsError("probe", f"a {what} on trial is not finite")
    excess = (found - base).abs() - bound
    if float(excess.max()) > _ROUNDING * (1.0 + float(base.abs().max())):
        raise WeightsError("probe", f"a {what} on trial is {float(excess.max()):.3g} beyond its bound")


def _tensor(values: FloatArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _generator(chance: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(chance.integers(2**63 - 1)))
