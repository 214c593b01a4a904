# SPDX-License-Identifier: Apache-2.0
"""Every method by name. A new one is a folder and a line here; nothing else in the tree knows its name.

Modules are imported when a half is asked for, so that the plain policy needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from rl_methods.base import Algorithm, Policy, PostTraining


NEEDS = {
    "demonstrations": "recordings of a human or an expert who does the task",
    "operator": "someone who takes over while it learns, or the scripted operator of the simulator",
    "offline data": "recorded episodes, successful ones among them",
    "simulator": "far more episodes than a robot can play",
    "GPU": "a graphics card, for a VLA of billions of weights; the pocket VLA is trained without",
}


@dataclass(frozen=True)
class MethodEntry:
    """Where a method's halves are.

    Attributes:
        summary: What it does, in one line.
        policy: `module:Class` of the actor half.
        algorithm: `module:Class` of the learner half, empty for methods that do not learn online.
        training: `module:Class` of what trains the VLA itself, empty for methods that leave it as it is.
        simulated: `module:Class` of what trains the VLA itself by playing in simulators, as it needs too many episodes
            for a robot; empty for the others.
        in_rounds: Whether `whetstone train` collects episodes for it, round by round, with a training after each.
        needs_weights: The VLA cannot stand in for it: it plays nothing before its first weights.
        needs: What it cannot do without, of `NEEDS`.
    """

    summary: str
    policy: str = "rl_methods.none.policy:FirstCandidate"
    algorithm: str = ""
    training: str = ""
    simulated: str = ""
    in_rounds: bool = False
    needs_weights: bool = False
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse needs that nobody can look up.

        Raises:
            ValueError: With those that are unknown, and those that are known.
        """
        if unknown := sorted(set(self.needs) - set(NEEDS)):
            raise ValueError(f"needs {unknown} are unknown, known: {', '.join(NEEDS)}")


METHODS: dict[str, MethodEntry] = {
    "none": MethodEntry("the plain VLA"),
    "expo": MethodEntry(
        "edits the VLA's candidates and plays the best by a critic",
        "rl_methods.expo.policy:ExpoPolicy",
        "rl_methods.expo.algorithm:Expo",
    ),
    "dsrl": MethodEntry(
        "chooses the noise that the VLA denoises",
        "rl_methods.dsrl.policy:DsrlPolicy",
        "rl_methods.dsrl.algorithm:Dsrl",
    ),
    "rlt": MethodEntry(
        "plays a small actor's chunk, held near the VLA's, in the critical phase of a task",
        "rl_methods.rlt.policy:RltPolicy",
        "rl_methods.rlt.algorithm:Rlt",
    ),
    "pld": MethodEntry(
        "adds a small residual to the VLA's chunk, warm-started on its successes",
        "rl_methods.pld.policy:PldPolicy",
        "rl_methods.pld.algorithm:Pld",
    ),
    "sft": MethodEntry(
        "imitates demonstrations by flow matching",
        training="rl_methods.sft.training:Sft",
        needs=("demonstrations", "GPU"),
    ),
    "distill": MethodEntry(
        "imitates the successes of a run, so that the VLA needs no small policy",
        training="rl_methods.distill.training:Distill",
        needs=("offline data", "GPU"),
    ),
    "recap": MethodEntry(
        "imitates everything with a label of its advantage, and is asked for the good",
        training="rl_methods.recap.training:Recap",
        needs=("offline data", "GPU"),
    ),
    "dagger": MethodEntry(
        "imitates the operator's corrections, round by round (HG-DAgger)",
        training="rl_methods.dagger.training:Dagger",
        in_rounds=True,
        needs=("operator", "GPU"),
    ),
    "ppo": MethodEntry(
        "PPO on the VLA's action expert; in simulation only, by `whetstone ppo`",
        simulated="rl_methods.ppo.algorithm:Ppo",
        needs=("simulator", "GPU"),
    ),
    "hil_serl": MethodEntry(
        "learns from demonstrations and corrections alone, without the VLA",
        "rl_methods.hil_serl.policy:HilSerlPolicy",
        "rl_methods.hil_serl.algorithm:HilSerl",
        needs_weights=True,
        needs=("demonstrations", "operator"),
    ),
}


FEATURES, IMAGES = "features", "images"
ENCODERS = (FEATURES, IMAGES)  # what a method's networks see: the VLA's features, or images through a net of their own
DEFAULT_ONLINE = "expo"  # what is trained when nobody says


def entry(name: str) -> MethodEntry:
    """Entry of a method.

    Raises:
        ValueError: The name is unknown.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r} is unknown, known: {', '.join(sorted(METHODS))}")
    return METHODS[name]


def method_names() -> list[str]:
    """Names of the methods that steering_node knows."""
    return sorted(METHODS)


def online_methods() -> list[str]:
    """Names of the methods that learner_node trains."""
    return sorted(name for name, method in METHODS.items() if method.algorithm)


def make_policy(name: str) -> Policy:
    """Actor half of a method.

    Raises:
        ValueError: The name is unknown.
    """
    policy: Policy = _load(entry(name).policy)()
    return policy


def algorithm_of(name: str) -> type[Algorithm]:
    """Class of a method's learner half.

    Raises:
        ValueError: The name is unknown, or the method does not learn online.
    """
    if not entry(name).algorithm:
        raise ValueError(f"method {name!r} has no learner, those that have: {', '.join(online_methods())}")
    algorithm: type[Algorithm] = _load(METHODS[name].algorithm)
    return algorithm


def training_methods() -> list[str]:
    """Names of the methods that train the VLA itself."""
    return sorted(name for name, method in METHODS.items() if method.training)


def trainable_methods() -> list[str]:
    """Names of the methods that `whetstone train` takes: those that learn online, and those in rounds."""
    return sorted(name for name, method in METHODS.items() if method.algorithm or method.in_rounds)


def training_of(name: str) -> type[PostTraining]:
    """Class of what trains the VLA.

    Raises:
        ValueError: The name is unknown, or the method leaves the VLA as it is.
    """
    if not entry(name).training:
        raise ValueError(f"method {name!r} trains no VLA, those that do: {', '.join(training_methods())}")
    training: type[PostTraining] = _load(METHODS[name].training)
    return training


def settings_file(name: str) -> Path:
    """The shipped settings of a method.

    Raises:
        ValueError: The name is unknown, or the method has none.
    """
    path = entry(name).algorithm or METHODS[name].training or METHODS[name].simulated
    if not path:
        raise ValueError(f"method {name!r} has no settings, those that have: {', '.join(_with_settings())}")
    return Path(str(files(path.rpartition(".")[0]) / "settings.yaml"))


def other_settings(name: str) -> dict[str, Path]:
    """Further settings that are shipped for a method, by their names."""
    shipped = settings_file(name)
    return {path.stem: path for path in sorted(shipped.parent.glob("*.yaml")) if path != shipped}


def training_settings_type(name: str) -> type[Any]:
    """Dataclass of the settings of a method that trains the VLA itself, from datasets or in simulation.

    Raises:
        ValueError: The name is unknown, or the method leaves the VLA as it is.
    """
    kind = _load(entry(name).simulated) if entry(name).simulated else training_of(name)
    settings: type[Any] = kind.settings_type
    return settings


def _with_settings() -> list[str]:
    return sorted(name for name, method in METHODS.items() if method.algorithm or method.training or method.simulated)


def encoder_of(name: str, file: Path | None = None) -> str:
    """What a method's settings file says of its encoder, one of `ENCODERS`; `features` where it says nothing.

    Args:
        name: Of the method; one without settings has no encoder.
        file: Its settings, the shipped ones by default.

    Raises:
        ValueError: The method or the word is unknown, or the file cannot be read.
    """
    if not entry(name).algorithm:
        return FEATURES
    file = file or settings_file(name)
    try:
        block = yaml.safe_load(file.read_text(encoding="utf-8"))[name] or {}
        found = block.get("encoder", FEATURES)
    except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"method file {file}: {type(error).__name__}: {error}") from error
    if found not in ENCODERS:
        raise ValueError(f"method file {file}: encoder is {found!r}, allowed: {', '.join(ENCODERS)}")
    return str(found)


def _load(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(module), name)
