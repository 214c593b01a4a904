# SPDX-License-Identifier: Apache-2.0
"""`whetstone arm | disarm | reset | stop | estop | instruct | mark | critical`: acts of an operator."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from action_msgs.srv import CancelGoal
from std_msgs.msg import Bool
from vla_interfaces.srv import Arm, Disarm, Pause, Reset, SetInstruction

from robot_operation.core.marks import Mark
from robot_operation.nodes.mark_convert import to_mark_message
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.graph import Graph
from whetstone_cli.cli.options import Namespace
from whetstone_cli.cli.screen import console
from whetstone_common.core.reason import Reason, State, sentence
from whetstone_common.nodes import qos

_ARM = "arm_node"
_MOVING = (State.RUNNING, State.HOLDING)
PANEL = "Operate the stack that runs"


class Switch(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (arm, disarm, reset, stop, estop, instruct, mark, critical):
        app.command(rich_help_panel=PANEL)(command)


def arm(namespace: Namespace = "") -> None:
    """Allow the arm to move."""
    with Graph(namespace) as graph:
        graph.demand(Arm, f"{_ARM}/arm", Arm.Request())
    console.print("armed")


def disarm(namespace: Namespace = "") -> None:
    """Hold the arm, and refuse motion until it is armed again."""
    with Graph(namespace) as graph:
        graph.demand(Disarm, f"{_ARM}/disarm", Disarm.Request(reason="whetstone disarm"))
    console.print("disarmed")


def reset(namespace: Namespace = "") -> None:
    """Leave a stop; refused while an emergency stop is pressed."""
    with Graph(namespace) as graph:
        graph.demand(Reset, f"{_ARM}/reset", Reset.Request())
    console.print("reset")


def stop(namespace: Namespace = "") -> None:
    """Hold the arm, and cancel every goal of episode_node, whoever sent it."""
    with Graph(namespace) as graph:
        # The arm first: it holds whether or not anybody answers for the goal.
        paused = graph.ask(Pause, f"{_ARM}/pause", Pause.Request(reason="whetstone stop"))
        cancelled = _cancel_all(graph)
        if not graph.spin_until(lambda: _ARM in graph.statuses and _state(graph)[0] not in _MOVING):
            raise UserError(f"{_ARM} still moves: {paused.message or 'it was asked to hold'}; use `whetstone estop`")
        words = sentence(*_state(graph))
    console.print(f"the arm holds ({_ARM} is {words}); goals cancelled: {cancelled}")


def _cancel_all(graph: Graph) -> int:
    """Cancel all goals of episode_node; how many there were, 0 also when there is no episode_node."""
    service = "run_episodes/_action/cancel_goal"
    client = graph.node.create_client(CancelGoal, service)
    if not graph.spin_until(client.service_is_ready, 1.0):
        return 0
    # A request without goal and time means all goals.
    return len(graph.ask(CancelGoal, service, CancelGoal.Request()).goals_canceling)


def _state(graph: Graph) -> tuple[State, Reason]:
    _, status = graph.statuses[_ARM]
    return State(status.state), Reason(status.reason)


def estop(
    namespace: Namespace = "",
    topic: Annotated[str, typer.Option(help="Topic of the emergency stop.")] = "/estop",
) -> None:
    """Press the emergency stop; it stays pressed until `whetstone reset`."""
    with Graph(namespace) as graph:
        graph.publish(Bool(data=True), topic, qos.ESTOP[0], f"listener on {topic}")
        pressed = (State.STOPPED, Reason.ESTOP)
        if not graph.spin_until(lambda: _ARM in graph.statuses and _state(graph) == pressed):
            raise UserError(f"{_ARM} does not say that it has stopped\n\nUse the emergency stop of the robot itself.")
    console.print("stopped; `whetstone reset` releases it")


def instruct(
    words: Annotated[str, typer.Argument(help="Instruction for the policy.")], namespace: Namespace = ""
) -> None:
    """Say another instruction to the policy."""
    with Graph(namespace) as graph:
        graph.demand(SetInstruction, "episode_node/set_instruction", SetInstruction.Request(instruction=words))
    console.print(f"instruction: {words}", markup=False)


def mark(
    word: Annotated[Mark, typer.Argument(help="What is true of the episode, or of the scene.")],
    namespace: Namespace = "",
) -> None:
    """Judge the running episode, or say that the scene has been put back."""
    with Graph(namespace) as graph:
        graph.publish(to_mark_message(word, graph.node), "mark", qos.RING, "episode_node")
    console.print(f"marked: {word.value}")


def critical(
    switch: Annotated[Switch, typer.Argument(help="Whether the phase that is learnt has begun, or is over.")],
    namespace: Namespace = "",
) -> None:
    """Say where the critical phase of the running episode begins and ends; the next one follows the task again."""
    with Graph(namespace) as graph:
        graph.publish(Bool(data=switch is Switch.ON), "critical_phase", qos.LATCHED, "steering_node")
    console.print(f"critical phase: {switch.value}")
