# SPDX-License-Identifier: Apache-2.0
"""RECAP (Physical Intelligence 2025, "pi*0.6", arXiv 2511.14759): offline RL as imitation under a label.

One iteration: fit a value function to everything that was collected, label every frame by its advantage, and imitate
all of it from the pre-trained weights, with the label as words behind the instruction. Served, the words say
"positive". The next iteration takes the data that the new policy has brought.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rl_methods.base import EpisodeLabels, PostTraining, Report, Sample, VlaTrainer
from rl_methods.recap.conclusions import Labelled, label_episodes, learn_values, lengths_of, outcome_of
from rl_methods.recap.labels import INDICATOR_WORDS, NEGATIVE, POSITIVE, TaskLabels, check_outcomes, prompt
from rl_methods.recap.settings import RecapSettings
from rl_methods.recap.value import ReturnDistributionNetwork, ValueFit

VALUE_FILE = "value.safetensors"
_DROPOUT_STREAM = 11  # keeps these draws apart from others of the same seed


class Recap(PostTraining):
    """Imitates everything, and says what of it was good."""

    settings_type = RecapSettings
    settings: RecapSettings

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self._labels: dict[tuple[Path, int], Labelled] = {}

    def select(self, dataset: Path, episode: EpisodeLabels) -> Sequence[Sample]:
        """Frames that were labelled, each with its label, or without one as often as the settings say.

        Raises:
            ValueError: The episode has no labels; `train` makes them.
        """
        labelled = self._labels.get((dataset.resolve(), episode.index))
        if labelled is None:
            raise ValueError(f"{dataset}: episode {episode.index} has no labels: the dataset was changed meanwhile")
        seed = [self.settings.seed, _DROPOUT_STREAM, episode.index, _number_of(dataset)]
        dropped = np.random.default_rng(seed).random(len(labelled.frames)) < self.settings.indicator_dropout
        return [
            Sample(int(frame), instruction="" if drop else prompt(episode.instruction, is_positive=bool(good)))
            for frame, good, drop in zip(labelled.frames, labelled.positive, dropped, strict=True)
        ]

    def train(self, trainer: VlaTrainer, model: Path, datasets: Sequence[Path], out: Path, report: Report) -> Path:
        """See `PostTraining.train`; what an interrupted call has done is kept beside `out`, and not done again."""
        trainer.check_pretrained(model)
        outcomes = [outcome_of(episode, self.settings) for _, episode in trainer.labels(datasets)]
        check_outcomes(outcomes)
        lengths = lengths_of(outcomes, self.settings.max_length)
        work = out.with_name(f"{out.name}.recap")
        episodes = trainer.features(model, datasets, self.settings.stride, work / "features", report)
        network, fit = learn_values(episodes, lengths, self.settings, lambda step, m: report(_value_line(step, m)))
        found, counts = label_episodes(network, episodes, lengths, self.settings)
        self._labels = {(e.key[0].resolve(), e.key[1]): row for e, row in zip(episodes, found, strict=True)}
        for task, count in counts.items():
            report(_share_line(task, count))
        base = trainer.with_words(model, INDICATOR_WORDS, (POSITIVE, NEGATIVE), work / "base")
        shutil.rmtree(work / "policy", ignore_errors=True)  # of a call that was stopped after it
        policy = trainer.fit(base, datasets, work / "policy", self.select, report)
        entries = self._entries(network, fit, counts, lengths)
        made = trainer.sealed_with(policy, out, {VALUE_FILE: network.state_dict()}, entries)
        shutil.rmtree(work, ignore_errors=True)
        return made

    def _entries(
        self, network: ReturnDistributionNetwork, fit: ValueFit, counts: dict[str, TaskLabels], lengths: dict[str, int]
    ) -> dict[str, Any]:
        """What the manifest of the new model says of itself."""
        tasks = {task: asdict(count) | {"max_length": lengths[task]} for task, count in counts.items()}
        for entry in tasks.values():
            entry["threshold"] = None if np.isnan(entry["threshold"]) else entry["threshold"]  # JSON has no NaN
        return {
            "conditioning": {"suffix": POSITIVE, "guidance": self.settings.guidance},
            "value": asdict(network.shape),
            "recap": {"settings": asdict(self.settings), "value": asdict(fit), "tasks": tasks},
        }


def _number_of(dataset: Path) -> int:
    """A number from a folder's name, so that episodes of two datasets draw apart."""
    return int.from_bytes(dataset.name.encode()[-8:], "big")


def _value_line(step: int, metrics: dict[str, float]) -> str:
    return (
        f"value function, step {step}: loss {metrics['value/loss']:.3f}, "
        f"held out {metrics['value/held_out']:.3f}, error {metrics['value/error']:.3f}"
    )


def _share_line(task: str, count: TaskLabels) -> str:
    return (
        f"{task}: {count.policy_positive:.0%} of {count.policy_frames} frames of the policy positive "
        f"(advantage above {count.threshold:.4f}), {count.human_frames} of a person, {count.positive:.0%} of all"
    )
