# SPDX-License-Identifier: Apache-2.0
"""The value function that travels with a model directory, and its values along an episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from experience.core.dataset import DatasetEpisode
from rl_learner.core.episode_preprocessing import EpisodePreprocessor
from rl_methods.base import EpisodeLabels
from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.recap.conclusions import outcome_of
from rl_methods.recap.returns import returns_of
from rl_methods.recap.settings import RecapSettings
from rl_methods.recap.training import VALUE_FILE
from rl_methods.recap.value import ReturnDistributionNetwork, ValueShape
from vla_policy.core.backends.pi0 import Pi0Backend
from vla_policy.core.backends.pocket import load_pocket
from vla_policy.core.files import manifest_as, model_directory, read_manifest
from vla_policy.core.protocol import Backend
from vla_policy.core.published.detect import is_pocket
from vla_policy.core.published.loading import load_published
from vla_policy.core.tensor_files import load_strictly, read_tensors
from whetstone_common.core.foreign import OpenModel, StrictModel

_Count = Annotated[int, Field(ge=1)]


class _Shape(StrictModel):
    features: _Count
    hidden: _Count
    bins: Annotated[int, Field(ge=3)]


class _Task(OpenModel):
    max_length: _Count


class _Recap(OpenModel):
    settings: dict[str, Any]
    tasks: dict[str, _Task]


class _Entries(OpenModel):
    value: _Shape
    recap: _Recap


@dataclass(frozen=True, eq=False)
class ValueModel:
    """A value function and what its numbers mean.

    Attributes:
        network: From features to values.
        settings: That it was trained with.
        lengths: Maximum length of each task.
    """

    network: ReturnDistributionNetwork
    settings: RecapSettings
    lengths: Mapping[str, int]

    def returns(self, episode: EpisodeLabels) -> NDArray[np.float64]:
        """[T] what the network was, or would have been, taught of an episode."""
        outcome = outcome_of(episode, self.settings)
        length = self.lengths.get(outcome.task, len(episode))
        return returns_of(outcome, self.settings.failure_cost, max(length, len(episode)))


def load_value(directory: Path) -> ValueModel:
    """Value function of a model directory.

    Raises:
        CheckpointError: The directory has none, or one that is not what it should be.
    """
    with model_directory(directory):
        manifest = read_manifest(directory)
        if VALUE_FILE not in manifest["files"]:
            raise CheckpointError(f"{directory} has no value function: give a model that `whetstone recap` made")
        entries = manifest_as(_Entries, manifest, directory)
        network = ReturnDistributionNetwork(ValueShape(**entries.value.model_dump()))
        load_strictly(network, read_tensors(directory / VALUE_FILE), str(directory / VALUE_FILE))
        settings = RecapSettings(**entries.recap.settings)
        lengths = {task: entry.max_length for task, entry in entries.recap.tasks.items()}
        return ValueModel(network.eval(), settings, lengths)


def plain_backend(directory: Path) -> Backend:
    """A model without the words that it is served with: the value function reads what the instruction alone says.

    Raises:
        CheckpointError: The directory is not what it should be.
    """
    parts = load_pocket(directory) if is_pocket(directory) else load_published(directory)
    return Pi0Backend(replace(parts, conditioning=None))


@torch.no_grad()
def values_along(
    network: ReturnDistributionNetwork,
    backend: Backend,
    watcher: EpisodePreprocessor,
    recorded: DatasetEpisode,
    stride: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Frames [n] and their values [n], every `stride` of them and the last one.

    Raises:
        ObservationError: The model cannot look at the episode.
        CheckpointError: Its features are not those that the value function was trained on.
    """
    if network.shape.features != backend.spec.feature_dim:
        raise CheckpointError(
            f"the value function reads {network.shape.features} features, the model has {backend.spec.feature_dim}: "
            f"{asdict(network.shape)}"
        )
    frames = np.unique([*range(0, len(recorded), stride), len(recorded) - 1])
    rows = [backend.features(backend.prefix(watcher.observation(recorded, int(frame)))) for frame in frames]
    return frames, network.value(torch.from_numpy(np.stack(rows))).double().numpy()
