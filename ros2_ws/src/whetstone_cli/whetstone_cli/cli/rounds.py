# SPDX-License-Identifier: Apache-2.0
"""`whetstone train` for methods that train the VLA itself: episodes, a training, the new model swapped in, and so on.

Each round trains from the base on everything that was recorded so far (dataset aggregation: Ross et al. 2011,
arXiv 1011.0686), so that a round that was killed is done again and nothing drifts.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vla_interfaces.srv import LoadModel

from rl_methods.config import read_training_settings
from vla_policy.core.serving import weights_sha256
from whetstone_cli.cli import screen, tuning
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.run_settings import TrainOptions
from whetstone_cli.cli.training_session import TrainingSession

# An ONNX export and a warm-up, on a crowded machine.
_SWAP_TIMEOUT_S = 600.0
_ANSWER_TIMEOUT_S = 30.0
_ASK_PERIOD_S = 0.5


class RoundSession(TrainingSession):
    """A session whose learner is a batch job between two episodes."""

    keeper = "recorder_node"

    def __init__(self, options: TrainOptions, *rest: Any) -> None:
        """See `TrainingSession`."""
        super().__init__(options, *rest)
        file = options.settings.method_file
        self._settings = read_training_settings(options.settings.method, Path(file) if file else None)
        self._trained = len(self._log.episodes)  # of this session, at the last training

    def wait_for_learner(self) -> None:
        """Train when a round is over."""
        self._wait_for_storage()
        if len(self._log.episodes) - self._trained >= self._settings.episodes_per_round:
            self._train_round()

    def finish(self) -> None:
        """Train on what came since the last round."""
        if len(self._log.episodes) > self._trained:
            self._wait_for_storage()
            self._train_round()

    def _train_round(self) -> None:
        """Train and swap; a run that has nothing to imitate yet, or whose model is refused, plays the one it has."""
        self._trained = len(self._log.episodes)
        out = tuning.next_round(self._options.folder)
        self._view.note(f"training {out.name}")
        try:
            self._train_beside(out)
            swap(self._client, out)
        except UserError as error:
            self._say(f"after {len(self._log.episodes)} episodes: the policy stays as it is: {error}")
        else:
            self._say(f"after {len(self._log.episodes)} episodes: {out} is played")

    def _train_beside(self, out: Path) -> None:
        """Train while the graph is listened to: a node that was not heard for a minute would be taken for dead.

        Raises:
            UserError: There is nothing to imitate yet.
        """
        settings = self._options.settings
        recordings = tuning.own_recordings(self._options.folder)
        with ThreadPoolExecutor(1) as pool:
            made = pool.submit(
                tuning.imitate, recordings, out, settings.method, self._options.stack.robot, base=settings.model_dir,
                steps=self._settings.steps_per_round, seed=settings.seed, held_out=0.0,
                method_file=settings.method_file or None, demonstrations=self._settings.demonstrations,
            )  # fmt: skip
            self._client.spin_until(made.done, math.inf)
            made.result()


def swap(client: Any, model: Path) -> None:
    """Let vla_node serve another model, without a restart.

    Raises:
        UserError: It refuses it, or does not answer.
    """
    request = LoadModel.Request(directory=str(model.resolve()), sha256=weights_sha256(model))
    answers: list[LoadModel.Response] = []

    asked_s = -math.inf

    def is_over() -> bool:
        nonlocal asked_s
        if time.monotonic() - asked_s < _ASK_PERIOD_S:
            return False
        asked_s = time.monotonic()
        answers.append(client.call(LoadModel, "vla_node/load_model", request, _ANSWER_TIMEOUT_S))
        return bool(answers[-1].state != LoadModel.Response.LOADING)

    if not client.spin_until(is_over, _SWAP_TIMEOUT_S):
        raise UserError(f"vla_node has not loaded {model} within {_SWAP_TIMEOUT_S:g} s")
    if not answers[-1].success:
        raise UserError(f"vla_node refuses {model}: {answers[-1].message}")
    screen.console.print(f"vla_node serves {model}", soft_wrap=True)
