# SPDX-License-Identifier: Apache-2.0
"""The world: the same seed is the same episode, it agrees with the URDF, and only the right pair counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim_bridge.core.arm import PANDA
from sim_bridge.core.expert import quarter_turn
from sim_bridge.core.tasks import TASKS
from sim_bridge.core.truth import Stage
from sim_bridge.core.world import World, WorldSnapshot
from whetstone_common.core.kinematics import Kinematics

DESCRIPTION = Path(__file__).resolve().parents[3] / "ros2_ws" / "src" / "robot_bringup" / "description"


@pytest.fixture(scope="module")
def panda() -> Kinematics:
    """Kinematics from the shipped URDF."""
    xml = (DESCRIPTION / "panda.urdf").read_text(encoding="utf-8")
    return Kinematics.from_urdf(xml, "tcp", PANDA.ros_joints)


@pytest.fixture(scope="module")
def world() -> World:
    """A world that each test resets."""
    return World("pick_place")


def play(world: World, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """State and images after ten ticks of a fixed motion."""
    world.reset(seed)
    start, _ = world.command()
    for k in range(10):
        world.step(start + 0.01 * k, 1.0 - 0.1 * k)
    return world.state(), [world.render("front"), world.render("wrist")]


@pytest.mark.parametrize("task", TASKS)
def test_when_the_seed_is_the_same_expect_the_same_bits_in_state_and_images(task: str) -> None:
    first, second = World(task, image_size=48), World(task, image_size=48)
    state, images = play(first, 3)
    second.reset(99)  # what came before must leave no trace
    second.step(second.command()[0], 0.0)
    again, images_again = play(second, 3)
    assert (state == again).all()
    assert all((a == b).all() for a, b in zip(images, images_again, strict=True))
    first.close()
    second.close()


def test_when_the_seed_differs_expect_another_episode(world: World) -> None:
    world.reset(1)
    first, words = world.render("front"), {world.instruction}
    for seed in range(2, 20):
        world.reset(seed)
        words.add(world.instruction)
    assert (world.render("front") != first).any()
    assert len(words) >= 5


def test_when_joints_are_anywhere_expect_the_urdf_to_agree_with_the_simulated_tcp(
    world: World, panda: Kinematics
) -> None:
    world.reset(0)
    rng = np.random.default_rng(0)
    middle, half = (panda.lower + panda.upper) / 2, (panda.upper - panda.lower) / 2
    for _ in range(20):
        target = middle + rng.uniform(-0.5, 0.5, 7) * half
        for _ in range(4):
            world.step(target, 1.0)
        simulated, computed = world.tcp_pose(), panda.fk(world.joint_positions())
        assert simulated.distance_m(computed) < 1e-4
        assert simulated.angle_rad(computed) < 1e-4
    assert np.allclose(world.joint_lower, panda.lower) and np.allclose(world.joint_upper, panda.upper)


def test_when_nothing_new_is_commanded_expect_the_arm_to_stay(world: World) -> None:
    world.reset(4)
    command, opening = world.command()
    for _ in range(20):
        world.step(command, opening)
    assert np.abs(world.joint_positions() - command).max() < 2e-3
    assert opening == 1.0 and world.gripper_opening() > 0.95


def test_when_the_gripper_closes_on_nothing_expect_its_opening_to_fall_to_zero(world: World) -> None:
    world.reset(4)
    for _ in range(20):
        world.step(world.command()[0], 0.0)
    assert world.gripper_opening() < 0.05


@pytest.mark.parametrize("bad", [[0.0] * 6, [0.0] * 8, [np.nan] + [0.0] * 6])
def test_when_a_command_is_malformed_expect_a_refusal_and_no_motion(world: World, bad: list[float]) -> None:
    world.reset(4)
    before = world.state()
    with pytest.raises(ValueError, match="joint targets|finite"):
        world.step(bad, 1.0)
    assert (world.state() == before).all()


def test_when_targets_are_beyond_the_limits_expect_them_clipped(world: World) -> None:
    world.reset(4)
    world.step(np.full(7, 50.0), 7.0)
    joints, opening = world.command()
    assert np.allclose(joints, world.joint_upper) and opening == 1.0


UPRIGHT = (1.0, 0.0, 0.0, 0.0)
ROLLED = (np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0)  # by a quarter turn about x, w x y z


def put(world: World, name: str, position: np.ndarray, turn: tuple[float, ...] = UPRIGHT) -> None:
    """Put a body somewhere by hand and let it settle."""
    address = int(world.model.joint(name).qposadr[0])
    world._data.qpos[address : address + 7] = (*position, *turn)
    for _ in range(10):
        world.step(*world.command())


def test_when_the_instructed_cube_lies_on_the_instructed_plate_expect_success(world: World) -> None:
    world.reset(0)
    put(world, world.layout.object_name, world.truth().goal_position + np.array([0.01, 0.0, 0.002]))
    truth = world.truth()
    assert truth.success and truth.stage is Stage.DONE and truth.progress == 1.0


def test_when_the_cube_rolled_onto_another_face_expect_success_all_the_same(world: World) -> None:
    world.reset(0)
    place = world.truth().goal_position + np.array([0.01, 0.0, 0.002])
    put(world, world.layout.object_name, place, ROLLED)
    assert world.truth().success


def test_when_a_peg_lies_on_its_side_expect_it_tilted() -> None:
    world = World("insert", image_size=48)
    world.reset(0)
    name = world.layout.object_name
    put(world, name, np.array([0.3, 0.3, 0.012]), ROLLED)
    assert world._bodies.tilt_rad(name) == pytest.approx(np.pi / 2, abs=0.1)
    assert world.body_state(name).upright == pytest.approx(0.0, abs=0.1)
    world.close()


def test_when_a_body_is_asked_for_expect_its_place_and_a_turn_that_rolling_over_does_not_change(world: World) -> None:
    world.reset(0)
    name, truth = world.layout.object_name, world.truth()
    state = world.body_state(name)
    assert np.allclose(state.position, truth.object_position) and state.upright > 0.99 and not state.grasped
    put(world, name, truth.object_position, ROLLED)
    assert abs(quarter_turn(world.body_state(name).yaw_rad)) < 0.1
    with pytest.raises(ValueError, match="unknown body 'teapot'"):
        world.body_state("teapot")


def test_when_the_wrong_cube_lies_on_the_plate_expect_no_success(world: World) -> None:
    world.reset(0)
    wrong = next(name for name in ("cube_a", "cube_b") if name != world.layout.object_name)
    put(world, wrong, world.truth().goal_position)
    assert not world.truth().success


def test_when_the_cube_lies_on_the_wrong_plate_expect_no_success(world: World) -> None:
    world.reset(0)
    goal = world.layout.goal_name
    wrong = next(name for name in ("plate_a", "plate_b") if name != goal)
    shift = np.subtract(world.layout.placements[wrong].position, world.layout.placements[goal].position)
    put(world, world.layout.object_name, world.truth().goal_position + shift)
    assert not world.truth().success


def test_when_the_words_are_changed_expect_success_judged_on_the_pair_of_the_seed(world: World) -> None:
    world.reset(0)
    words = world.instruction
    world.instruction = "put the purple cube on the moon"
    put(world, world.layout.object_name, world.truth().goal_position)
    truth = world.truth()
    assert truth.success and truth.true_instruction == words and truth.instruction != words


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_when_rendered_expect_an_image_in_which_something_is_to_be_seen(world: World, camera: str) -> None:
    world.reset(0)
    image = world.render(camera)
    assert image.shape == (96, 96, 3) and image.dtype == np.uint8
    assert image.std() > 10


def test_when_a_camera_is_unknown_expect_a_refusal(world: World) -> None:
    with pytest.raises(ValueError, match="unknown camera"):
        world.render("ceiling")


def test_when_a_snapshot_is_drawn_expect_the_picture_of_its_moment(world: World) -> None:
    world.reset(5)
    snapshot = WorldSnapshot(world)
    state, image = world.state(), world.render("wrist")
    for _ in range(10):
        world.step(world.command()[0] + 0.05, 0.0)
    snapshot.take(state)
    assert (snapshot.render("wrist") == image).all()
    snapshot.close()


def test_when_the_task_or_the_rate_makes_no_sense_expect_a_refusal() -> None:
    with pytest.raises(ValueError, match="pick_place"):
        World("juggle")
    with pytest.raises(ValueError, match="control_hz"):
        World("stack", control_hz=300.0)
