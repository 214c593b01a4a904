# SPDX-License-Identifier: Apache-2.0
"""gym-hil's task, in the environment that our tool makes for it: what runs of `tools/rl/outside.py` play in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tools" / "rl")]

from cell_scene import JOINTS  # noqa: E402
from gym_hil_demos import shown  # noqa: E402
from gym_hil_expert import PickExpert, PickOperator  # noqa: E402
from gym_hil_scene import MAX_TICKS, GymHilScene  # noqa: E402

from rl_learner.core.rollout.rollout import Rollout, RolloutRules  # noqa: E402
from rl_methods.none.policy import FirstCandidate  # noqa: E402
from vla_policy.core.backends import load_backend  # noqa: E402
from whetstone_common.core.kinematics import Pose  # noqa: E402

pytestmark = [pytest.mark.timeout(300), pytest.mark.cores(1)]

MODEL = ROOT / "ros2_ws" / "src" / "vla_policy" / "models" / "pocket"
_SPEED_M = 0.0125  # per control step


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GymHilScene]:
    folder = tmp_path_factory.mktemp("gym_hil") / "env"
    subprocess.run([str(ROOT / "tools" / "gym_hil_env"), str(folder)], check=True, timeout=240)
    made = GymHilScene(JOINTS, folder)
    yield made
    made.close()


def test_when_the_scripted_expert_shows_the_task_expect_the_packages_own_success(scene: GymHilScene) -> None:
    for seed in range(3):
        episode = shown(scene, seed)
        assert episode.success and scene.success() and scene.lifted_m > 0.09
        states = np.stack([frame.state for frame in episode.frames])
        assert (
            states.shape[1] == len(JOINTS) and states[0, -1] == 1.0 and states[-1, -1] == pytest.approx(0.0, abs=0.01)
        )


def test_when_a_seed_is_played_again_expect_the_same_pictures_and_motion(scene: GymHilScene) -> None:
    played = []
    for _ in range(2):
        scene.reset(7)
        first = scene.observation()
        target = scene.pose()
        for _ in range(5):
            scene.drive(target, 0.5)
        played.append((first.images["front"].copy(), first.proprio, scene.joints))
    for one, other in zip(*played, strict=True):
        np.testing.assert_array_equal(one, other)
    scene.reset(8)
    assert not np.array_equal(scene.observation().images["front"], played[0][0])


def test_when_a_far_target_is_commanded_expect_the_speed_limit_in_what_was_commanded(scene: GymHilScene) -> None:
    scene.reset(1)
    start = scene.pose()
    driven = scene.drive(Pose(start.position + np.array([0.0, 0.2, 0.0]), start.rotation), 1.0)
    np.testing.assert_allclose(driven.pose.position - start.position, (0.0, _SPEED_M, 0.0), atol=1e-4)


def test_when_a_policy_closes_beside_the_cube_expect_the_operator_to_take_over_and_lift_it(scene: GymHilScene) -> None:
    operator = PickOperator(scene)
    scene.reset(3)
    operator.begin(demonstrate=False)
    helped, beside = False, scene.pose()
    while not scene.success() and scene.tick < MAX_TICKS:
        driven = scene.drive(*(operator.command() if helped else (beside, 0.0)))
        helped = operator.watch(driven.opening)
    assert scene.success()


def test_when_the_pocket_vla_plays_there_expect_an_episode_with_its_windows(scene: GymHilScene) -> None:
    backend = load_backend("onnx", str(MODEL), num_threads=1)
    rollout = Rollout(scene, backend, RolloutRules(execute_steps=8, candidates=2, max_steps=24))
    rollout.policy = FirstCandidate()
    episode = rollout.play(5)
    assert episode.steps == 24 and not episode.success


def test_when_the_cube_slips_out_of_closed_fingers_expect_the_expert_to_begin_anew() -> None:
    expert, cube = PickExpert(), np.array([0.4, 0.0, 0.02])
    assert expert.aim(cube, cube)[1] == 0.0
    place, opening = expert.aim(cube + np.array([0.05, 0.0, 0.0]), cube)
    assert opening == 1.0 and place[2] > cube[2]
