# SPDX-License-Identifier: Apache-2.0
"""A task of one decision that only eyes can solve: reach the spot in the image, and close the hand on a dark one."""

from __future__ import annotations

import numpy as np
import torch

from rl_learner.core.replay import Replay, Window, mixed
from rl_methods.common.batch import WindowShape
from rl_methods.common.critic import CriticConfig
from rl_methods.hil_serl.algorithm import HilSerl, HilSerlConfig

SIDE, REACH = 16, 0.3
SHAPE = WindowShape(
    features=1, steps=2, action_dim=3, candidates=1, horizon=2, noise_dim=3, proprio=2, cameras=1, image_size=SIDE
)
CONFIG = HilSerlConfig(
    features=1, proprio=2, cameras=1, steps=2, action_dim=3, encoder="images", image_size=SIDE, encoder_maps=8,
    encoder_outputs=16, shift=0, knots=1, bound=1.0, hidden=(64, 64), actor_rate=1e-3, toggle_penalty=0.02,
    critic=CriticConfig(members=2, hidden=(64, 64), learning_rate=2e-3, polyak=0.02),
)  # fmt: skip
DEMONSTRATIONS, TRIES, CORRECTED = 40, 1000, 4  # every so many failures, a human shows how it goes


class Scene:
    """A spot somewhere; where it is and how dark it is are nowhere but in the image."""

    def __init__(self, rng: np.random.Generator) -> None:
        place = rng.integers(2, SIDE - 2, 2)
        self.dark = bool(rng.integers(2))
        self.image = rng.integers(90, 130, (1, SIDE, SIDE, 3), np.uint8)
        x, y = place
        self.image[0, y - 1 : y + 2, x - 1 : x + 2] = 0 if self.dark else 255
        self.goal = (place / (SIDE - 1) * 2.0 - 1.0).astype(np.float32)
        self.proprio = np.array([0.0, 1.0], np.float32)  # the gripper is open

    def right(self) -> np.ndarray:
        """What a human does, [2, 3]."""
        gripper = 0.0 if self.dark else 1.0
        return np.array([[*(self.goal / 2.0), gripper], [*self.goal, gripper]], np.float32)

    def wins(self, chunk: np.ndarray) -> bool:
        """Whether it is reached, and the hand closed on a dark spot only."""
        return bool(np.linalg.norm(chunk[-1, :2] - self.goal) < REACH and (chunk[-1, 2] < 0.5) == self.dark)

    def window(self, chunk: np.ndarray, *, human: bool) -> Window:
        reward, empty = float(self.wins(chunk)), np.zeros((1, 2, 3), np.float32)
        nothing = np.zeros(1, np.float32)
        return Window(
            features=nothing, actions=chunk, candidates=empty, noise=empty, reward=reward, mask=0.0, discount=0.9,
            valid=1.0, mc_return=reward, success=reward, human=float(human), refused=0.0, proposed=chunk,
            next_features=nothing, next_candidates=empty, proprio=self.proprio, next_proprio=self.proprio,
            images=self.image, next_images=self.image,
        )  # fmt: skip

    def played(self, learner: HilSerl, random: torch.Generator | None, *, explore: bool) -> np.ndarray:
        return learner.acting.chunk(
            torch.zeros(1), torch.from_numpy(self.proprio), torch.from_numpy(self.image), random, explore=explore
        ).numpy()


def trained(seed: int, tries: int = TRIES) -> HilSerl:
    torch.manual_seed(seed)
    learner, rng, random = HilSerl(CONFIG), np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    prior, online = (Replay(SHAPE, 2000, learner.data_spec) for _ in range(2))
    for _ in range(DEMONSTRATIONS):
        scene = Scene(rng)
        prior.add(scene.window(scene.right(), human=True))
    failures = 0
    for _ in range(tries):
        scene = Scene(rng)
        chunk = scene.played(learner, random, explore=True)
        failures += not scene.wins(chunk)
        online.add(scene.window(chunk, human=False))
        if not scene.wins(chunk) and failures % CORRECTED == 0:
            shown = scene.window(scene.right(), human=True)
            prior.add(shown)
            online.add(shown)
        for _ in range(3):
            learner.update(mixed(prior, online, 0.5, 64, random), random)
    return learner


def rate(learner: HilSerl, count: int = 200) -> float:
    rng = np.random.default_rng(12345)
    scenes = [Scene(rng) for _ in range(count)]
    return float(np.mean([scene.wins(scene.played(learner, None, explore=False)) for scene in scenes]))


def test_when_it_learns_from_demonstrations_and_corrections_expect_a_spot_reached_by_eye() -> None:
    torch.manual_seed(0)
    assert rate(HilSerl(CONFIG)) < 0.15
    assert rate(trained(0)) > 0.8


def test_when_a_run_is_repeated_expect_the_same_weights_bit_for_bit() -> None:
    one, again = (trained(3, tries=20).state() for _ in range(2))
    assert all(torch.equal(one[name], again[name]) for name in one)
