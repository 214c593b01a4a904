# SPDX-License-Identifier: Apache-2.0
"""Arm, policy and simulator as episode_node sees them, in one node that can be told to fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.node import Node
from std_msgs.msg import String
from vla_interfaces.msg import EpisodeMark, Executed, NodeStatus, Stamp, TaskTruth
from vla_interfaces.srv import Arm, Pause, Reset, Resume, SimReset

from whetstone_common.nodes import qos

_TICK_S = 0.002
_STATUS_S = 0.05
_EPOCH = 77


@dataclass
class Script:
    """What the cell does, by seed.

    Attributes:
        succeed_at: Tick of success.
        stall_at: Tick after which nothing moves any more.
        silent_at: Tick after which the arm says nothing any more.
        stop_at: Tick at which the arm stops.
        restart_at: Tick at which the arm comes back as another process.
        hold_at: Ticks from which on and until which the policy's node holds.
        refuse_reset: The simulator refuses every reset.
        deaf: The observer goes on with the words that it has.
    """

    succeed_at: dict[int, int] = field(default_factory=dict)
    stall_at: dict[int, int] = field(default_factory=dict)
    silent_at: dict[int, int] = field(default_factory=dict)
    stop_at: dict[int, int] = field(default_factory=dict)
    restart_at: dict[int, int] = field(default_factory=dict)
    hold_at: dict[int, tuple[int, int]] = field(default_factory=dict)
    refuse_reset: bool = False
    deaf: bool = False


class FakeCell(Node):
    """Ticks by itself while resumed."""

    def __init__(self, script: Script, **kwargs: Any) -> None:
        """Offer the services of arm_node and sim_node."""
        super().__init__("fake_cell", **kwargs)
        self.script = script
        self.seed = self.tick = self.reset_id = self.episode = 0
        self.epoch, self.running, self.silent = _EPOCH, False, False
        self.arm_state = NodeStatus.READY
        self.vla_state = NodeStatus.READY
        self._holds_idle = False
        self.idle = False  # the arm is READY although the episode runs
        self.calls: list[str] = []
        self.instructions: list[str] = []
        self.resumed_with: list[Resume.Request] = []
        self._truth = self.create_publisher(TaskTruth, "/sim/truth", qos.RECORD)
        self._executed = self.create_publisher(Executed, "executed", qos.RECORD)
        self._status = self.create_publisher(NodeStatus, "node_status", qos.LATCHED)
        self.in_use = self.create_publisher(String, "instruction_in_use", qos.LATCHED)
        self.mark = self.create_publisher(EpisodeMark, "mark", qos.RING)
        self.create_subscription(String, "instruction", self._on_instruction, qos.LATCHED)
        for kind, name, answer in (
            (Arm, "arm_node/arm", self._arm),
            (Reset, "arm_node/reset", self._reset),
            (Resume, "arm_node/resume", self._resume),
            (Pause, "arm_node/pause", self._pause),
            (SimReset, "/sim/reset", self._sim_reset),
        ):
            self.create_service(kind, name, answer)
        self.create_timer(_TICK_S, self._on_tick)
        self.create_timer(_STATUS_S, self._on_status)

    def _on_instruction(self, msg: String) -> None:
        self.instructions.append(msg.data)
        if not self.script.deaf:
            self.in_use.publish(msg)

    def _arm(self, _request: Arm.Request, response: Arm.Response) -> Arm.Response:
        self.calls.append("arm")
        response.success, response.epoch = True, self.epoch
        return response

    def _reset(self, _request: Reset.Request, response: Reset.Response) -> Reset.Response:
        self.calls.append("reset")
        self.arm_state = NodeStatus.READY
        response.success = True
        return response

    def _resume(self, request: Resume.Request, response: Resume.Response) -> Resume.Response:
        self.calls.append("resume")
        self.resumed_with.append(request)
        self.episode += 1
        self.running = True
        self._on_status()
        response.success, response.epoch, response.episode = True, self.epoch, self.episode
        return response

    def _pause(self, _request: Pause.Request, response: Pause.Response) -> Pause.Response:
        self.calls.append("pause")
        self.running = False
        self._on_status()
        response.success = True
        return response

    def _sim_reset(self, request: SimReset.Request, response: SimReset.Response) -> SimReset.Response:
        self.calls.append(f"sim_reset {request.seed}")
        if self.script.refuse_reset:
            response.message = "told to refuse"
            return response
        self.seed, self.tick = request.seed, 0
        self.reset_id += 1
        self._hold()
        response.success, response.reset_id, response.instruction = True, self.reset_id, "put the red cube"
        response.stamp = self._now()
        return response

    def _now(self) -> Time:
        return Time(sec=100 * self.reset_id + self.tick // 20, nanosec=50_000_000 * (self.tick % 20))

    def _at(self, moments: dict[int, int]) -> bool:
        return self.seed in moments and self.tick >= moments[self.seed]

    def _on_tick(self) -> None:
        if not self.running or self.arm_state != NodeStatus.READY or self._at(self.script.stall_at):
            return
        self.tick += 1
        if self._at(self.script.stop_at):
            self.arm_state = NodeStatus.STOPPED
            self.script.stop_at.pop(self.seed)
        if self._at(self.script.restart_at):
            self.epoch += 1
            self.script.restart_at.pop(self.seed)
        self.silent = self._at(self.script.silent_at)
        self._hold()
        stamp = Stamp(epoch=self.epoch, episode=self.episode)
        self._executed.publish(Executed(stamp=stamp, episode_step=self.tick - 1, time=self._now()))
        self._truth.publish(
            TaskTruth(
                stamp=self._now(),
                seed=self.seed,
                reset_id=self.reset_id,
                tick=self.tick,
                success=self._at(self.script.succeed_at),
            )
        )

    def hold_idle(self) -> None:
        """The policy's node holds, whether or not an episode runs."""
        self._holds_idle = True
        self._hold()

    def _hold(self) -> None:
        begin, end = self.script.hold_at.get(self.seed, (0, 0))
        holds = self._holds_idle or begin <= self.tick < end
        state = NodeStatus.HOLDING if holds else NodeStatus.READY
        if state != self.vla_state:
            self.vla_state = state
            self._on_status()

    def _on_status(self) -> None:
        arm = NodeStatus(node="/arm_node", node_epoch=self.epoch, state=self.arm_state)
        if self.running and not self.idle and arm.state == NodeStatus.READY:
            arm.state = NodeStatus.RUNNING
        vla = NodeStatus(node="/vla_node", node_epoch=1, state=self.vla_state)
        if vla.state == NodeStatus.HOLDING:
            vla.reason, vla.detail = NodeStatus.MISSING_STREAM, "no front"
        observer = NodeStatus(node="/observation_node", node_epoch=1, state=NodeStatus.READY)
        for status in (vla, observer) if self.silent else (arm, vla, observer):
            self._status.publish(status)
