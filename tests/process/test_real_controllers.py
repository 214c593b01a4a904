# SPDX-License-Identifier: Apache-2.0
"""The launch of a real arm against controllers that are not ours: ros2_control with mock hardware."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from sensor_msgs.msg import JointState
from vla_interfaces.msg import EpisodeEvent
from vla_interfaces.srv import Resume

from harness.armlog import LogTail, arm_command
from harness.cells import SIM_JOINT_TIMEOUT_S
from harness.command_line import start, whetstone
from harness.ros2_control import missing_packages, start_controllers
from harness.until import stays, until
from harness.world import World
from whetstone_common.core.robot import Robot
from whetstone_common.nodes.convert import to_ns
from whetstone_common.nodes.robot_files import find_robot

pytestmark = [
    pytest.mark.skipif(
        bool(missing_packages()),
        reason=f"needs {', '.join(missing_packages())}: source a ROS distribution with ros2_controllers",
    ),
    pytest.mark.cores(4),
    pytest.mark.timeout(600),
]

ROBOT: Robot = find_robot("franka_fr3")
EPISODES = 10
_SPEED_WINDOW_NS = 60_000_000


@dataclass
class Arm:
    """The stack of a real arm, and what its joints measure.

    Attributes:
        world: Where it lives.
        states: Joint states as they came.
        commands: What arm_node sent.
    """

    world: World
    states: list[tuple[int, JointState]]
    commands: LogTail

    def now(self) -> np.ndarray:
        """Newest measured joints [n] (rad)."""
        return joints_of(self.states[-1][1])

    def is_away_from(self, joints: np.ndarray, distance_rad: float) -> bool:
        """Whether a joint is further than that from where it was."""
        return bool(np.abs(self.now() - joints).max() > distance_rad)

    def is_where_sent(self) -> bool:
        """Whether every joint is where the last command sent it."""
        return not self.is_away_from(np.array(self.commands.read()[-1].values), 1e-4)

    def judge_motion(self) -> None:
        """Fail when measured joints ever left the limits of the robot file."""
        messages = [msg for _, msg in self.states]
        stamps_ns = np.array([to_ns(msg.header.stamp) for msg in messages])
        joints = np.array([joints_of(msg) for msg in messages])
        assert (joints >= ROBOT.limits.lower).all() and (joints <= ROBOT.limits.upper).all()
        later = np.searchsorted(stamps_ns, stamps_ns + _SPEED_WINDOW_NS)
        first = np.flatnonzero(later < len(stamps_ns))
        spans_s = (stamps_ns[later[first]] - stamps_ns[first]) * 1e-9
        speeds = np.abs(joints[later[first]] - joints[first]) / spans_s[:, None]
        assert (speeds <= 1.1 * ROBOT.limits.velocity).all(), f"fastest, rad/s: {speeds.max(axis=0)}"


def joints_of(msg: JointState) -> np.ndarray:
    """Arm joints [n] (rad) of a joint state, in the order of the robot file."""
    values = dict(zip(msg.name, msg.position, strict=True))
    return np.array([values[name] for name in ROBOT.joints])


@pytest.fixture
def arm(world: World) -> Arm:
    """Controllers, two cameras of the robot file as webcams, and `whetstone up` as a user types it; disarmed."""
    start_controllers(world, joints=sorted(ROBOT.joints, reverse=True))
    for name, topic in ROBOT.cameras.items():
        parameters = {"sends": "yuv422_yuy2", "rate_hz": 30.0}
        world.fake("fake_camera", name=f"camera_{name}", parameters=parameters, remap={"image_raw": f"/{topic}"})
    experiment, log = world.folder / "experiment.yaml", world.folder / "commands.jsonl"
    differences = {
        "vla_node": {"fake_pattern": "sine", "fake_value": 0.008},
        "arm_node": {"joint_timeout_s": SIM_JOINT_TIMEOUT_S},  # cameras and controllers share the cores
    }
    written = {f"/**/{node}": {"ros__parameters": values} for node, values in differences.items()}
    experiment.write_text(yaml.safe_dump(written), encoding="utf-8")
    made = Arm(world, world.watcher.listen(JointState, "joint_states"), LogTail(log, arm_command))
    # A whole period of the sine, so that the arm does not wander from one chunk to the next.
    given = ("sim:=false", "robot:=franka_fr3", "task:=pick_place", "backend:=fake", "execute_steps:=16")
    start(world, "up", *given, f"experiment:={experiment}", f"command_log:={log}")
    world.wait_ready("vla_node", "steering_node", "arm_node", "episode_node", "observation_node", deadline_s=90.0)
    return made


def said(world: World, *words: str) -> Callable[[], bool]:
    """Whether a command of the operator was obeyed; for `until`."""
    return lambda: whetstone(world, *words)[0] == 0


def test_when_a_real_controller_obeys_expect_its_joints_where_they_were_sent_and_still_after_an_estop(arm: Arm) -> None:
    world = arm.world
    until(lambda: len(arm.states) > 1, 20.0, "joint states")
    assert arm.now() == pytest.approx(ROBOT.home, abs=1e-6)
    set_moving(arm)
    assert whetstone(world, "estop")[0] == 0
    world.watcher.wait_state("arm_node", "STOPPED", 10.0, reason="ESTOP")
    until(arm.is_where_sent, 5.0, "every joint is where the last command sent it")
    held = arm.now()
    stays(lambda: not arm.is_away_from(held, 1e-6), 1.0, "the arm holds")
    code, text = whetstone(world, "arm")
    assert code == 1 and "emergency stop" in text
    arm.judge_motion()


def set_moving(arm: Arm) -> None:
    """Arm it, and let the policy move it."""
    until(said(arm.world, "arm"), 60.0, "armed")
    assert whetstone(arm.world, "instruct", "put the red cube on the blue plate")[0] == 0
    begun = arm.now()
    assert arm.world.watcher.call(Resume, "arm_node/resume").success
    until(lambda: arm.is_away_from(begun, 0.02), 30.0, "the arm moves")


def test_when_the_controller_is_switched_off_under_motion_expect_a_stop_and_no_jump_when_it_returns(arm: Arm) -> None:
    from controller_manager_msgs.srv import SwitchController

    def switch(**controllers: list[str]) -> None:
        strict = SwitchController.Request.STRICT
        name = "controller_manager/switch_controller"
        assert arm.world.watcher.call(SwitchController, name, strictness=strict, **controllers).ok

    until(lambda: len(arm.states) > 1, 20.0, "joint states")
    set_moving(arm)
    switch(deactivate_controllers=["fr3_arm_controller"])
    arm.world.watcher.wait_state("arm_node", "STOPPED", 10.0, reason="FROZEN_SOURCE")
    stood = arm.now()
    switch(activate_controllers=["fr3_arm_controller"])
    stays(lambda: not arm.is_away_from(stood, 1e-6), 1.0, "the arm stands")
    until(said(arm.world, "reset"), 20.0, "reset")
    set_moving(arm)
    arm.judge_motion()


def test_when_an_operator_marks_ten_episodes_expect_ten_successes(arm: Arm) -> None:
    world = arm.world
    events = world.watcher.listen(EpisodeEvent, "episode")
    result = Path(world.folder) / "eval.json"
    options = ("--no-sim", "--robot", "franka_fr3", "--task", "pick_place", "--episodes", str(EPISODES))
    # A mark is a command that has to start: an episode lasts until it has been given.
    evaluation = start(world, "eval", "--attach", *options, "--max-steps", "4000", "--json", str(result))

    def count(kind: int) -> int:
        return sum(msg.event == kind for _, msg in events)

    for number in range(1, EPISODES + 1):
        begun = lambda n=number: count(EpisodeEvent.STARTED) >= n  # noqa: E731
        until(lambda b=begun: said(world, "mark", "reset")() and b(), 60.0, f"episode {number} begins")
        at = arm.now()
        until(lambda a=at: arm.is_away_from(a, 0.01), 30.0, f"the arm moves in episode {number}")
        assert whetstone(world, "mark", "success")[0] == 0
        until(lambda n=number: count(EpisodeEvent.SUCCEEDED) >= n, 20.0, f"episode {number} is a success")
    assert evaluation.wait_exit(30.0) == 0, evaluation.tail()
    rows = json.loads(result.read_text(encoding="utf-8"))["rows"]
    assert [row["outcome"] for row in rows] == ["succeeded"] * EPISODES
    arm.judge_motion()
