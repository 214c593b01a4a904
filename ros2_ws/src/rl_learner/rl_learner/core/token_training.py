# SPDX-License-Identifier: Apache-2.0
"""From datasets to a model directory with an RL token: `whetstone features train`.

The VLA is frozen: it sees every few frames of every episode once, and its embeddings are kept on disk.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experience.core.dataset import Dataset
from rl_learner.core.held_out import HeldOutEpisodes
from rl_learner.core.model_workshop import RobotRecordings
from rl_learner.core.recorded import check_dataset, episodes_of, shown_to_policy
from rl_methods.base import Report
from vla_policy.core.backends.pi0 import Pi0Backend, sizes_of
from vla_policy.core.backends.pi0_parts import Parts
from vla_policy.core.backends.pocket import load_pocket
from vla_policy.core.feature_version import FEATURE_VERSION, feature_version
from vla_policy.core.published.detect import is_pocket
from vla_policy.core.published.loading import load_published
from vla_policy.core.rl_token import TokenFeaturizer, TokenShape, prefix_embeddings
from vla_policy.core.serving import weights_sha256
from vla_policy.core.token_files import ENCODER_FILE, token_entries
from vla_policy.core.training.directories import sealed_with
from vla_policy.core.training.embeddings import TokenData
from vla_policy.core.training.run import LossReport
from vla_policy.core.training.settings import FrameConfig, TokenConfig
from vla_policy.core.training.token import TokenRun

_WIDTH, _HEADS = 256, 8  # of the encoder of a published checkpoint, whose embeddings are two thousand numbers wide
_GB = 1e9


class FrozenVla:
    """A VLA that is looked through, pocket or published.

    Args:
        directory: Its model directory.
        joint_names: The robot's joints, the gripper last.
        device: Where it is computed; a published one in bfloat16 on a GPU.

    Raises:
        CheckpointError: It cannot be served.
    """

    def __init__(self, directory: Path, joint_names: tuple[str, ...], device: torch.device) -> None:
        of_pocket = is_pocket(directory)
        dtype = torch.bfloat16 if device.type == "cuda" and not of_pocket else torch.float32
        self._parts: Parts = (
            load_pocket(directory) if of_pocket else load_published(directory, joint_names=joint_names, dtype=dtype)
        )
        guidance = None if self._parts.conditioning is None else 1.0  # the features know nothing of another
        name = str(dtype).removeprefix("torch.")
        self.backend = Pi0Backend(self._parts, device=str(device), dtype=name, guidance=guidance)
        self._readouts = self._parts.featurizer.readouts if isinstance(self._parts.featurizer, TokenFeaturizer) else 0
        sizes = sizes_of(self._parts.model.config)
        self._image_tokens = sizes.image_tokens * len(self._parts.stats.cameras)

    @property
    def readouts(self) -> int:
        """Tokens at the end of the prompt that are features as they are."""
        return self._readouts

    def shape(self, token_dim: int) -> TokenShape:
        """Of a token that fits: a pocket VLA has a small one already."""
        featurizer = self._parts.featurizer
        if isinstance(featurizer, TokenFeaturizer):
            return replace(featurizer.encoder.shape, token_dim=token_dim)
        width = int(self._parts.model.config.vlm_config.text_config.hidden_size)
        return TokenShape(width, self._image_tokens, _WIDTH, _HEADS, token_dim=token_dim)

    def embeddings(self, observation: Any) -> Tensor:
        """[M, D] of an observation."""
        last = self.backend.prefix(observation).prefix.last.float()
        return prefix_embeddings(last, self._image_tokens, self._readouts)[0]


@dataclass(eq=False)
class TokenTrainer:
    """Makes model directories with a token.

    Attributes:
        robot: Whose recordings they are.
        joint_names: Its joints, the gripper last.
        frames: Which frames are looked at.
        config: Of the optimiser.
        token_dim: Numbers of the token.
        progress: Told each step.
        work: Folder of checkpoints; a training that was killed goes on from it. None keeps none.
        device: Where everything is computed.
    """

    robot: RobotRecordings
    joint_names: tuple[str, ...]
    frames: FrameConfig
    config: TokenConfig
    token_dim: int = 64
    progress: LossReport = field(default_factory=LossReport)
    work: Path | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def fit(self, model: Path, datasets: Sequence[Path], out: Path, report: Report) -> Path:
        """Train a token on datasets, and write a directory like the model's that has it.

        Raises:
            ValueError: Model or dataset cannot be used, or they do not fit.
            FileExistsError: There is something of the new name.
            OSError: The disk is full.
        """
        opened = [self.robot.dataset(folder) for folder in datasets]
        vla = FrozenVla(model, self.joint_names, self.device)
        shape = vla.shape(self.token_dim)
        out.parent.mkdir(parents=True, exist_ok=True)
        data = TokenData.of(self._rows(vla, opened, shape, report), vla.readouts, out.parent)
        report(f"{len(data.rows)} frames, {len(data.held_out)} of them put aside")
        origin = {
            "model": weights_sha256(model), "datasets": [str(path) for path in datasets], "frames": asdict(self.frames),
        }  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="whetstone_features_") as nowhere:
            folder = (self.work or Path(nowhere)) / f"seed-{self.config.seed}"
            run = TokenRun(data, shape, self.config, folder, origin, self.device)
            encoder = run.encoder(run.run(self.progress))
            loss = run.held_out_loss()
        training = {**asdict(self.config), "frames": len(data.train), "held_out_frames": len(data.held_out)}
        training |= {} if math.isnan(loss) else {"held_out_loss": round(loss, 6)}
        tensors = encoder.state_dict()
        entries = {**token_entries(shape, training), FEATURE_VERSION: feature_version(tensors)}
        return sealed_with(model, out, {ENCODER_FILE: tensors}, entries)

    def _rows(
        self, vla: FrozenVla, opened: Sequence[Dataset], shape: TokenShape, report: Report
    ) -> Iterator[tuple[Tensor, bool]]:
        """Embeddings of every few frames, and whether their episode is put aside."""
        watcher = self.robot.watcher(vla.backend.spec)
        for dataset in opened:
            check_dataset(dataset, watcher)
        stride = self._stride(opened, 2 * shape.count * shape.embedding_dim, report)
        aside = HeldOutEpisodes(self.frames.held_out, sum(map(len, opened)), self.frames.seed)
        for dataset in opened:
            for number, recorded in enumerate(episodes_of(dataset, watcher), 1):
                is_aside = aside.next()
                for frame in range(0, len(recorded), stride):
                    with shown_to_policy(dataset, recorded):
                        yield vla.embeddings(watcher.observation(recorded, frame)), is_aside
                report(f"{dataset.root}: {number} of {len(dataset)} episodes through the policy")
                del recorded  # before the next one is read

    def _stride(self, opened: Sequence[Dataset], row_bytes: int, report: Report) -> int:
        """That of the settings, or the one whose embeddings fit the disk that may be used."""
        frames = sum(len(episode) for dataset in opened for episode in dataset.labels())
        least = math.ceil(frames * row_bytes / (self.frames.disk_gb * _GB))
        if least > self.frames.stride:
            report(
                f"every {least}th frame is looked at, not every {self.frames.stride}th: the embeddings of more would "
                f"take above {self.frames.disk_gb:g} GB (--disk-gb)"
            )
        return max(least, self.frames.stride)
