# SPDX-License-Identifier: Apache-2.0
"""The console's subscriptions: from messages to what the session keeps."""

from __future__ import annotations

import time
from typing import Any

from std_msgs.msg import String
from vla_interfaces.msg import (
    ActionChunk,
    Decision,
    EpisodeEvent,
    Executed,
    NodeStatus,
    PolicyContract,
    Request,
)

from operator_console.core.session import Session
from operator_console.nodes.cameras import CameraStreams
from operator_console.nodes.decision_watch import DecisionWatch
from whetstone_common.core.enums import Actor, Outcome
from whetstone_common.core.reason import Reason, State
from whetstone_common.core.robot import Robot
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_stages
from whetstone_common.nodes.node import WhetstoneNode

_SHOWN_HASH = 8


class GraphView:
    """Listens to the graph of one robot.

    Args:
        node: Subscribes; its parameters say how images are compressed.
        robot: Gives the cameras.

    Attributes:
        session: What is known of nodes, episodes and latencies.
        cameras: Pictures.
        decisions: Decisions that go to the arm.
    """

    def __init__(self, node: WhetstoneNode, robot: Robot) -> None:
        self._node = node
        self.session = Session()
        self.cameras = CameraStreams(
            node, robot.cameras, compressed=node.param("compressed"), quality=node.param("jpeg_quality")
        )
        self.decisions = DecisionWatch(node, robot, self.cameras)
        subscriptions: tuple[tuple[type, str, Any, Any], ...] = (
            (NodeStatus, "node_status", self._on_status, qos.RECORD),
            (EpisodeEvent, "episode", self._on_event, qos.RECORD),
            (Executed, "executed", self._on_executed, qos.RECORD),
            (Decision, "decision", self._on_decision, qos.RECORD),
            (PolicyContract, "policy_contract", self._on_contract, qos.LATCHED),
            (String, "instruction_in_use", self._on_instruction, qos.LATCHED),
            (Request, "request", self._on_request, qos.RING),
            (ActionChunk, "action_chunk", self._on_chunk, qos.RING),
        )
        for kind, topic, callback, profile in subscriptions:
            node.create_subscription(kind, topic, callback, profile)

    def update(self) -> None:
        """Subscribe to what somebody looks at, and to nothing else; called by the executor."""
        self.cameras.update()
        self.decisions.update()

    def _on_status(self, msg: NodeStatus) -> None:
        try:
            state, reason = State(msg.state), Reason(msg.reason)
        except ValueError:
            self._node.counters["bad_message"] += 1
            return
        name = msg.node.rsplit("/", 1)[-1]
        self.session.on_status(name, state, reason, msg.detail, time.monotonic())

    def _on_event(self, msg: EpisodeEvent) -> None:
        if msg.event == EpisodeEvent.STARTED:
            self.session.on_start(msg.task, msg.instruction, msg.episode)
        elif msg.event in set(Outcome):
            ended = (msg.task, msg.instruction, msg.episode, Outcome(msg.event), msg.reason, msg.duration_s)
            self.session.on_end(*ended)

    def _on_executed(self, msg: Executed) -> None:
        # A hello to the recorder is no step: it belongs to no episode.
        if msg.stamp.episode and msg.actor in set(Actor):
            self.session.on_step(Actor(msg.actor))

    def _on_decision(self, msg: Decision) -> None:
        if msg.request_kind == Request.TRIAL:
            self.decisions.on_trial(msg)
        if not msg.stamp.episode or msg.request_kind != Request.ACT:
            return
        self.session.method, self.session.policy_version = msg.method, int(msg.policy_version)
        self.decisions.on_decision(msg)

    def _on_contract(self, msg: PolicyContract) -> None:
        weights = f" {msg.weights_sha256[:_SHOWN_HASH]}" if msg.weights_sha256 else ""
        self.session.model = f"{msg.model_id}{weights}"
        self.decisions.on_contract(msg)

    def _on_instruction(self, msg: String) -> None:
        self.session.instruction = msg.data

    def _on_request(self, msg: Request) -> None:
        if msg.kind == Request.ACT:
            self.session.on_request(int(msg.stamp.request_id), time.monotonic())

    def _on_chunk(self, msg: ActionChunk) -> None:
        self.session.on_chunk(int(msg.stamp.request_id), time.monotonic(), to_stages(msg.times))
