# SPDX-License-Identifier: Apache-2.0
"""The two robots that the rows are tried on: an arm with a scripted policy, and the whole ring around null models."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory
from std_msgs.msg import String
from vla_interfaces.action import RunEpisodes
from vla_interfaces.srv import Arm, Pause, Reset, Resume

from harness.armlog import HUMAN, POLICY, Command, LogTail, after, arm_command, drive_command, moved
from harness.oracle import StopLimits, Verdict, judge_stop
from harness.proc import Proc
from harness.schedule import Fault, dump_faults
from harness.until import NotReachedError, until
from harness.watcher import LATCHED
from harness.world import World

PERIOD_S = 0.01
# The robot of the tests is the simulated Panda with tighter limits, so that a ramp is long enough to be seen.
ACCELERATION_RAD_S2 = 8.0
_VELOCITY_RAD_S = 1.0
# Largest change of a command, with room for the rounding of a log in text.
MAX_STEP_RAD = 1.01 * _VELOCITY_RAD_S * PERIOD_S
OPEN_LOOP_S = 0.3
CHUNK_TIMEOUT_S = 1.0
_START_S = 40.0
_ATTEMPTS = 4
_MOVES = 5
SIM_JOINT_TIMEOUT_S = 0.4
# Two commands further apart than this are not neighbours.
_GAP_NS = 30_000_000
_EARLY_STEPS = 4

ARM_PARAMETERS: dict[str, Any] = {
    "pace": "realtime",
    "execution": "sync",
    "chunk_open_loop_s": OPEN_LOOP_S,
    "chunk_timeout_s": CHUNK_TIMEOUT_S,
}


def write_robot(folder: Path) -> str:
    """Robot file of the tests; returns its path."""
    share = Path(get_package_share_directory("robot_bringup"))
    robot = yaml.safe_load((share / "config" / "robots" / "sim_panda.yaml").read_text(encoding="utf-8"))
    robot["urdf"] = str(share / "description" / robot["urdf"])
    robot["limits"] |= {
        "velocity_rad_s": [_VELOCITY_RAD_S] * 7,
        "acceleration_rad_s2": [ACCELERATION_RAD_S2] * 7,
        "step_rad": [0.05] * 7,
    }
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(robot), encoding="utf-8")
    return str(path)


@dataclass
class Cell:
    """An arm that runs, and the processes around it.

    Attributes:
        world: Where it lives.
        parts: Process by name.
    """

    world: World
    parts: dict[str, Proc] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open both logs."""
        self._arm_tail = LogTail(self.arm_log, arm_command)
        self._drive_tail = LogTail(self.drive_log, drive_command)

    @property
    def drive_log(self) -> Path:
        """Log of the fake drives."""
        return self.world.folder / "drive.jsonl"

    @property
    def arm_log(self) -> Path:
        """Log of arm_node."""
        return self.world.folder / "arm.jsonl"

    def commands(self) -> list[Command]:
        """What arm_node sent, with identity."""
        return self._arm_tail.read()

    def drives(self) -> list[Command]:
        """What the drives obeyed."""
        return self._drive_tail.read()

    # ---- what a person does ----------------------------------------------------------------------------------------

    def arm(self) -> None:
        """Allow motion; waits until the arm has what it needs for it."""
        watcher = self.world.watcher
        answer = None

        def armed() -> bool:
            nonlocal answer
            answer = watcher.call(Arm, "arm_node/arm")
            return bool(answer.success)

        try:
            until(armed, _START_S, "arm_node accepts to be armed")
        except AssertionError as error:
            raise AssertionError(f"{error}; it said: {answer and answer.message}") from error

    def resume(self, **fields: Any) -> Any:
        """READY to RUNNING."""
        answer = self.world.watcher.call(Resume, "arm_node/resume", **fields)
        assert answer.success, answer.message
        return answer

    def reset(self) -> None:
        """STOPPED to READY; on a crowded machine joint states may just be late, so it is asked again."""
        answers: list[Any] = []

        def is_reset() -> bool:
            answers.append(self.world.watcher.call(Reset, "arm_node/reset"))
            return bool(answers[-1].success)

        try:
            until(is_reset, 5.0, "arm_node accepts the reset")
        except NotReachedError as error:
            raise AssertionError(f"{error}; it said: {answers[-1].message}") from error

    def pause(self) -> Any:
        """RUNNING to READY."""
        return self.world.watcher.call(Pause, "arm_node/pause")

    def wait_moving(self, source: str = POLICY, deadline_s: float = 20.0) -> None:
        """Wait until commands of that source change, after what has been logged so far."""
        seen = self.commands()
        since_ns = seen[-1].t_ns if seen else 0

        def moving() -> bool:
            fresh = [c for c in after(self.commands(), since_ns) if c.source == source]
            return len(moved(fresh)) >= 5

        until(moving, deadline_s, f"{source} moves the arm")

    def run(self) -> None:
        """Arm, resume, and wait for motion.

        The first request may go out before the middleware has matched its readers, which costs a time-out; that is
        bring-up and not the fault under test, so it is tried again.
        """
        self.arm()
        for _ in range(_ATTEMPTS):
            self.resume()
            try:
                self.wait_moving(deadline_s=3.0)
            except NotReachedError:
                if self.world.watcher.latest("arm_node").state == "STOPPED":
                    self.reset()
                continue
            return
        self.wait_moving(deadline_s=0.0)

    def run_episode(self) -> Any:
        """Have episode_node run an episode, and wait for motion.

        Returns:
            Future of the result.
        """
        for _ in range(_ATTEMPTS):
            handle = self.world.watcher.send_goal(RunEpisodes, "run_episodes", episodes=1, max_steps=400)
            result = handle.get_result_async()
            seen = len(self.commands())
            until(lambda seen=seen: result.done() or self._moved_since(seen), 30.0, "the episode moves the arm")  # noqa: B023
            if not result.done():
                return result
        raise AssertionError(f"no episode ran: {result.result().result.message}")

    def _moved_since(self, count: int) -> bool:
        return len(moved([c for c in self.commands()[count:] if c.source == POLICY])) >= _MOVES

    def warm_up(self) -> None:
        """Arm, see that everything is connected, and go back to READY."""
        self.run()
        self.pause()
        self.world.watcher.wait_state("arm_node", "READY", 5.0)

    def wait_random_moment(self, seed: int, longest_s: float = 0.8, *, playing: bool = True) -> None:
        """Let a seeded time pass, so that repetitions hit different moments.

        Args:
            seed: Of the moment.
            longest_s: Bound of the time.
            playing: Then go on until a chunk plays that is not yet near its end, so that there is something to stop.
        """
        end_s = time.monotonic() + random.Random(seed).uniform(0.0, longest_s)  # noqa: S311
        until(lambda: time.monotonic() >= end_s, longest_s + 1.0, "the moment")
        if playing:
            until(self._is_playing, 10.0, "a chunk plays")

    def _is_playing(self) -> bool:
        last = self.commands()[-1]
        return last.source == POLICY and last.step < _EARLY_STEPS and time.monotonic_ns() - last.t_ns < _GAP_NS

    # ---- judging ---------------------------------------------------------------------------------------------------

    def judge_smooth(self) -> Verdict:
        """Commands never ask for more acceleration than the robot file allows: a hold is a ramp and not a wall."""
        log, worst = self.commands(), 0.0
        for a, b, c in zip(log, log[1:], log[2:], strict=False):
            if max(c.t_ns - b.t_ns, b.t_ns - a.t_ns) > _GAP_NS:
                continue
            bends = [abs(z - 2 * y + x) for x, y, z in zip(a.values, b.values, c.values, strict=True)]
            worst = max(worst, max(bends) / PERIOD_S**2)
        allowed = ACCELERATION_RAD_S2 * 1.05
        problem = f"acceleration {worst:.1f} rad/s2, allowed {allowed:.1f}"
        return Verdict(() if worst <= allowed else (problem,), {"acceleration_rad_s2": worst})

    def judge_stop(self, fault_ns: int, *, open_loop_s: float = 0.0, until_ns: int | None = None) -> Verdict:
        """O1 by both logs: identity from arm_node's, standstill from the drives' too."""
        limits = StopLimits(max_step_rad=MAX_STEP_RAD, period_s=PERIOD_S, open_loop_s=open_loop_s)
        own = judge_stop(self.commands(), fault_ns, limits, until_ns)
        drives = judge_stop(self.drives(), fault_ns, replace(limits, lossy=True), until_ns)
        numbers = {**own.numbers, "drive_standstill_s": drives.numbers["standstill_s"]}
        return Verdict(own.problems + drives.problems, numbers)

    def judge_own_stop(self, fault_ns: int, *, open_loop_s: float = 0.0) -> Verdict:
        """O1 by arm_node's log alone, where the drives themselves are the fault."""
        limits = StopLimits(max_step_rad=MAX_STEP_RAD, period_s=PERIOD_S, open_loop_s=open_loop_s)
        return judge_stop(self.commands(), fault_ns, limits)

    def policy_commands_after(self, t_ns: int) -> list[Command]:
        """Commands of the policy or of a person that were obeyed later than a moment."""
        return [c for c in after(self.commands(), t_ns) if c.source in (POLICY, HUMAN)]


def arm_cell(
    world: World,
    *,
    mutation: str = "",
    arm: Mapping[str, Any] | None = None,
    policy: Mapping[str, Any] | None = None,
    fake_arm: Mapping[str, Any] | None = None,
    relay: Sequence[Fault] | None = None,
    seed: int = 0,
    env: Mapping[str, str] | None = None,
) -> Cell:
    """fake_arm, arm_node, fake_policy; with a relay on the chunks when `relay` is given (may be empty)."""
    cell = Cell(world)
    cell.parts["fake_arm"] = world.fake("fake_arm", parameters={"log": str(cell.drive_log), **(fake_arm or {})})
    robot = {"robot_file": write_robot(world.folder)}
    parameters = {**ARM_PARAMETERS, **robot, "command_log": str(cell.arm_log), **(arm or {})}
    cell.parts["arm_node"] = world.node("robot_bringup", "arm_node", parameters=parameters, mutation=mutation, env=env)
    remap = {} if relay is None else {"action_chunk": "action_chunk_in"}
    cell.parts["fake_policy"] = world.fake("fake_policy", parameters=dict(policy or {}), remap=remap)
    if relay is not None:
        start_relay(cell, "action_chunk", "vla_interfaces/msg/ActionChunk", relay, seed)
    world.wait_ready("fake_arm", "fake_policy", "arm_node")
    return cell


def start_relay(cell: Cell, topic: str, kind: str, faults: Sequence[Fault] = (), seed: int = 0) -> str:
    """Put a relay in front of `topic`; returns the name of its node."""
    name = "relay_" + topic.strip("/").replace("/", "_")
    parameters = {"topic": topic, "type": kind, "faults": dump_faults(faults), "seed": seed}
    cell.parts[name] = cell.world.fake("fault_relay", name=name, parameters=parameters)
    cell.world.wait_ready(name)
    return name


def ring_cell(
    world: World,
    *,
    mutations: Mapping[str, str] | None = None,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    relays: Mapping[str, str] | None = None,
) -> Cell:
    """The whole ring: fake arm and cameras, observation_node, vla_node with the fake backend, steering_node, arm_node.

    Args:
        mutations: Node to removed protection.
        parameters: Node to extra parameters.
        relays: Topic to message type; `joint_states` or `/camera/<name>/image_raw`.
    """
    cell = Cell(world)
    mutations, parameters, relays = mutations or {}, parameters or {}, relays or {}

    def extra(name: str) -> dict[str, Any]:
        return dict(parameters.get(name, {}))

    def out(topic: str, own: str) -> dict[str, str]:
        return {own: f"{topic}_in" if topic in relays else topic}

    def node(package: str, name: str, defaults: Mapping[str, Any]) -> None:
        cell.parts[name] = world.node(
            package, name, parameters={**defaults, **extra(name)}, mutation=mutations.get(name, "")
        )

    cell.parts["fake_arm"] = world.fake(
        "fake_arm",
        parameters={"log": str(cell.drive_log), **extra("fake_arm")},
        remap=out("/joint_states", "joint_states"),
    )
    for camera in ("front", "wrist"):
        topic = f"/camera/{camera}/image_raw"
        cell.parts[f"camera_{camera}"] = start_camera(world, camera, out(topic, "image_raw"), extra(f"camera_{camera}"))
    for topic, kind in relays.items():
        start_relay(cell, topic, kind)
    robot = {"robot_file": write_robot(world.folder)}
    node("vla_policy", "observation_node", {**robot, "frozen_min_motion_rad": 0.0})
    node("vla_policy", "vla_node", {**robot, "backend": "fake", "fake_pattern": "sine", "fake_value": 0.008})
    node("vla_policy", "steering_node", {"execute_steps": 6})
    node("robot_bringup", "arm_node", {**ARM_PARAMETERS, **robot, "command_log": str(cell.arm_log)})
    world.watcher.say(String(data="put the red cube on the blue plate"), "instruction", LATCHED, deadline_s=_START_S)
    world.wait_ready("fake_arm", "camera_front", "camera_wrist", *relay_names(relays))
    world.wait_ready("vla_node", "steering_node", "observation_node", "arm_node")
    return cell


def full_cell(
    world: World,
    *,
    mutations: Mapping[str, str] | None = None,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
) -> Cell:
    """What a launch starts, with the simulator in real time and a policy that waves: episodes can be run.

    Args:
        world: Where it lives.
        mutations: Node to removed protection.
        parameters: Node to extra parameters.
    """
    cell = Cell(world)
    mutations, parameters = mutations or {}, parameters or {}
    robot = {"robot_file": write_robot(world.folder)}
    # Physics and two cameras in software share the cores with everything else.
    patience = {"joint_timeout_s": SIM_JOINT_TIMEOUT_S, "chunk_timeout_s": 4.0}
    nodes: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("sim_bridge", "sim_node", {"pace": "realtime", "camera_rate_hz": 8.0}),
        ("vla_policy", "observation_node", {**robot, "obs_max_age_s": 1.5, "obs_max_skew_s": 0.5}),
        ("vla_policy", "vla_node", {**robot, "backend": "fake", "fake_pattern": "sine", "fake_value": 0.008}),
        ("vla_policy", "steering_node", {"execute_steps": 6}),
        ("robot_bringup", "arm_node", {**ARM_PARAMETERS, **robot, **patience, "command_log": str(cell.arm_log)}),
        # Its own patience would end an episode too, but late; here it is the health of the nodes that must.
        ("robot_operation", "episode_node", {"stall_timeout_s": 60.0}),
    )
    for package, name, own in nodes:
        given = {**own, **parameters.get(name, {})}
        cell.parts[name] = world.node(package, name, parameters=given, mutation=mutations.get(name, ""))
    world.watcher.say(String(data="put the red cube on the blue plate"), "instruction", LATCHED, deadline_s=_START_S)
    world.wait_ready("sim_node", "vla_node", "steering_node", "arm_node", "episode_node", "observation_node")
    return cell


def relay_names(relays: Mapping[str, str]) -> list[str]:
    """Node names of the relays of some topics."""
    return ["relay_" + topic.strip("/").replace("/", "_") for topic in relays]


def start_camera(world: World, camera: str, remap: Mapping[str, str], parameters: Mapping[str, Any]) -> Proc:
    """One camera process."""
    return world.fake("fake_camera", name=f"camera_{camera}", parameters=dict(parameters), remap=remap)
