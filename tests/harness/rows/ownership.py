# SPDX-License-Identifier: Apache-2.0
"""Rows of who may move the arm: stops that must be heard, second commanders, second stacks, absent operators."""

from __future__ import annotations

import os
from pathlib import Path

from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory
from vla_interfaces.action import RunEpisodes
from vla_interfaces.srv import Reset

from harness.armlog import after
from harness.cells import MAX_STEP_RAD, PERIOD_S, Cell, arm_cell, full_cell, write_robot
from harness.oracle import StopLimits, Verdict, judge_reason, judge_stop
from harness.rows.case import Case, always, check, no_motion, now_ns, statuses, total, watch_for
from harness.rows.people import ESTOP_S, press
from harness.until import NotReachedError, until
from harness.world import World
from whetstone_common.nodes.transport import PROFILES

_COMMANDS = "/arm_controller/joint_trajectory"
_VOLATILE = QoSProfile(depth=10)
_BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
# The graph is looked at once a second.
_LOOKS_S = 1.0
_REFUSED = 3
_LEASE_S = 3.0


def estop_of_any_qos(world: World, seed: int, mutation: str) -> Verdict:
    """Row 50: as `ros2 topic pub` and a C++ driver publish it."""
    cell = arm_cell(world, mutation=mutation)
    cell.warm_up()
    verdicts = []
    for profile in (_VOLATILE, _BEST_EFFORT):
        button = world.watcher.node.create_publisher(Bool, "/estop", profile)
        cell.resume()
        cell.wait_moving()
        cell.wait_random_moment(seed)
        try:
            until(lambda button=button: button.get_subscription_count() > 0, 3.0, "arm_node hears the button")
        except NotReachedError as error:
            return Verdict((str(error),))
        verdicts.append(_stopped_by(cell, button))
        world.watcher.node.destroy_publisher(button)
        if verdicts[-1].problems:
            break
    return total(verdicts) + always(cell)


def _stopped_by(cell: Cell, button: object) -> Verdict:
    fault_ns = now_ns()
    button.publish(Bool(data=True))
    watch_for(0.6)
    limits = StopLimits(max_step_rad=MAX_STEP_RAD, timeout_s=ESTOP_S, period_s=PERIOD_S)
    verdict = judge_stop(cell.commands(), fault_ns, limits)
    verdict += judge_reason(statuses(cell), "arm_node", "ESTOP", fault_ns)
    button.publish(Bool(data=False))
    if verdict.ok:
        cell.reset()
    return verdict


def two_buttons(world: World, seed: int, mutation: str) -> Verdict:
    """Row 51: a button that was never pressed says false; only the one that presses can release."""
    cell = arm_cell(world, mutation=mutation)
    cell.run()
    other = world.watcher.node.create_publisher(Bool, "/estop", _VOLATILE)
    until(lambda: other.get_subscription_count() > 0, 10.0, "arm_node hears the other button")
    cell.wait_random_moment(seed)
    press(cell, pressed=True)
    world.watcher.wait_state("arm_node", "STOPPED", 5.0, reason="ESTOP")
    at_ns = now_ns()
    for _ in range(3):  # a publisher that has just come is not always heard at once
        other.publish(Bool(data=False))
        watch_for(0.2)
    verdict = no_motion(cell, at_ns, "motion after the other button said false", 0.5)
    refused = world.watcher.call(Reset, "arm_node/reset")
    verdict += check(not refused.success, "reset was accepted while the first button is pressed")
    verdict += check("watcher" in refused.message, f"the refusal does not say who presses: {refused.message!r}")
    press(cell, pressed=False)
    if verdict.ok:
        cell.reset()
    return verdict + always(cell)


def second_commander(world: World, seed: int, mutation: str) -> Verdict:
    """Row 52: another node begins to command the controller; the arm stops and names it."""
    cell = arm_cell(world, mutation=mutation)
    cell.run()
    cell.wait_random_moment(seed)
    fault_ns = now_ns()
    world.watcher.node.create_publisher(JointTrajectory, _COMMANDS, 1)
    watch_for(_LOOKS_S + 1.0)
    verdict = judge_reason(
        statuses(cell), "arm_node", "SECOND_COMMANDER", fault_ns, within_s=_LOOKS_S + 1.0, detail="/watcher"
    )
    limits = StopLimits(max_step_rad=MAX_STEP_RAD, period_s=PERIOD_S, open_loop_s=_LOOKS_S + 0.5)
    return verdict + judge_stop(cell.commands(), fault_ns, limits) + always(cell)


def second_stack(world: World, seed: int, mutation: str) -> Verdict:
    """Row 53: a second arm_node is started in the same domain; it ends by itself and the first moves on."""
    cell = arm_cell(world)
    cell.run()
    cell.wait_random_moment(seed)
    parameters = {"robot_file": write_robot(world.folder)}
    second = world.node("robot_bringup", "arm_node", name="second", parameters=parameters, mutation=mutation)
    try:
        code = second.wait_exit(15.0)
    except AssertionError:
        return Verdict(("the second arm_node goes on",))
    first = cell.parts["arm_node"]
    known = check(f"process {first.pid} on host" in second.tail(), f"the refusal names nobody: {second.tail()}")
    cell.wait_moving()
    return check(code == _REFUSED, f"the second arm_node ended with {code}") + known + always(cell)


def operator_without_terminal(world: World, seed: int, mutation: str) -> Verdict:  # noqa: ARG001 - nothing is random
    """Row 54: the keyboard was asked for and there is no terminal: no episode begins, and the reason is told."""
    world.node("robot_operation", "operator_node", parameters={"device": "keyboard"})
    parameters = {"watched_nodes": ["episode_node"], "operator": "keyboard"}
    parameters |= {"failure_grace_s": 0.5, "service_timeout_s": 1.0, "startup_timeout_s": 10.0}
    world.node("robot_operation", "episode_node", parameters=parameters, mutation=mutation)
    world.wait_ready("episode_node")
    handle = world.watcher.send_goal(RunEpisodes, "run_episodes", episodes=1, max_steps=10)
    result = handle.get_result_async()
    until(result.done, 30.0, "the goal ends")
    message = result.result().result.message
    return check("operator lost" in message and "terminal" in message, f"the goal ended with {message!r}")


def short_lease(folder: Path) -> dict[str, str]:
    """Environment of a process whose death the graph knows after _LEASE_S rather than after 20 s."""
    shipped = Path(os.environ[PROFILES]).read_text(encoding="utf-8")
    text = shipped.replace("<sec>20</sec>", f"<sec>{_LEASE_S:g}</sec>")
    profile = folder / "short_lease.xml"
    profile.write_text(text, encoding="utf-8")
    return {PROFILES: str(profile)}


def client_is_killed(world: World, seed: int, mutation: str) -> Verdict:
    """Row 55: the client of the goal dies by SIGKILL; once the graph knows, the arm is held and the goal ends."""
    cell = full_cell(world, mutations={"episode_node": mutation})
    client = world.fake("fake_client", parameters={"max_steps": 2000}, env=short_lease(world.folder))
    cell.wait_moving(deadline_s=40.0)
    cell.wait_random_moment(seed)
    killed_ns = client.kill9()
    noticed_s = _LEASE_S + 3.0
    watch_for(noticed_s + 1.0)
    late = after(cell.policy_commands_after(killed_ns), killed_ns + int(noticed_s * 1e9))
    return check(not late, f"{len(late)} commands of a goal without a client") + always(cell)


CASES = (
    Case("50", "e-stop of any QoS", estop_of_any_qos, ("only_latched_estops_are_heard",), quick=True),
    Case("51", "two buttons", two_buttons, ("last_button_wins",), quick=True),
    Case("52", "second commander", second_commander, ("surroundings_are_ignored",), quick=True),
    Case("53", "second stack", second_stack, ("namesakes_are_ignored",), quick=True),
    Case("54", "operator without a terminal", operator_without_terminal, ("operator_is_not_needed",), quick=True),
    Case("55", "client of a goal killed", client_is_killed, ("clients_are_ignored",), cores=4),
)
