# SPDX-License-Identifier: Apache-2.0
"""Observation, VLA and steering in one small process: answers requests with chunks of a known motion.

The motion is a sine of the first and the last arm joint about their places at the first request, absolute in time, so
that successive chunks join without a step whatever the delay was.
"""

from __future__ import annotations

import math
import time

from sensor_msgs.msg import JointState
from vla_interfaces.msg import ActionChunk, PolicyContract, Request

from fakes.base import FakeNode, run
from fakes.fake_arm import JOINTS
from whetstone_common.core.contract import Contract
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import from_contract, to_ns

DT_S = 0.05
# Longer than anything that may play open loop, so that only the arm's own bound can end a chunk.
HORIZON = 40
_MOVING = (0, 6)


class FakePolicy(FakeNode):
    """Answers `request` on `action_chunk`.

    Parameters: `delays_s` table of delays, used in turn; `amplitude_rad`, `period_s` of the motion; `silent`;
    `execute_steps`; `valid_for_s`; `claim` name under which the chunks are published;
    `joint_names` and `horizon` of the contract.
    """

    def __init__(self) -> None:
        """Announce the contract."""
        super().__init__(
            "fake_policy",
            {
                "delays_s": [0.02],
                "amplitude_rad": 0.1,
                "period_s": 2.0,
                "silent": False,
                "execute_steps": 8,
                "valid_for_s": 1.0,
                "claim": "",
                "joint_names": JOINTS,
                "horizon": HORIZON,
            },
        )
        self._positions: dict[str, float] = {}
        self._home: list[float] = []
        self._answers = 0
        self._asked: Request | None = None
        self._pending: list[tuple[float, ActionChunk]] = []
        self._contract = make_contract(list(self.told["joint_names"]), self.told["horizon"])
        self._hash = self._contract.hash()
        self._chunks = self.create_publisher(ActionChunk, "action_chunk", qos.RING)
        self._contracts = self.create_publisher(PolicyContract, "policy_contract", qos.LATCHED)
        self._contracts.publish(from_contract(self._contract))
        self.create_subscription(JointState, "joint_states", self._on_joints, qos.SENSOR_IN)
        self.create_subscription(Request, "request", self._on_request, qos.RING)
        self._due = self.when_asked(0.002, self._flush)

    def _on_joints(self, msg: JointState) -> None:
        self._positions = dict(zip(msg.name, msg.position, strict=True))
        self._stamp = msg.header.stamp
        self._look()

    def _on_request(self, request: Request) -> None:
        if self.told["silent"] or request.kind != Request.ACT or not self._positions:
            return
        self._asked = request
        self._look()

    def _look(self) -> None:
        """Begin to think, once a joint state is as new as the request wants it."""
        if self._asked is None or to_ns(self._stamp) < to_ns(self._asked.not_before):
            return
        delays = self.told["delays_s"]
        delay_s = delays[self._answers % len(delays)]
        self._answers += 1
        self._pending.append((time.monotonic() + delay_s, self._chunk(self._asked)))
        self._due.reset()
        self._asked = None

    def _flush(self) -> bool:
        now_s = time.monotonic()
        due = [chunk for at_s, chunk in self._pending if at_s <= now_s]
        self._pending = [item for item in self._pending if item[0] > now_s]
        for chunk in due:
            self._chunks.publish(chunk)
        return bool(self._pending)

    def _chunk(self, request: Request) -> ActionChunk:
        reference = [self._positions[name] for name in JOINTS[:-1]]
        self._home = self._home or list(reference)
        start_s = to_ns(self._stamp) / 1e9
        horizon = self.told["horizon"]
        chunk = ActionChunk(
            source=self.told["claim"] or self.get_fully_qualified_name(),
            source_epoch=self.epoch_ns,
            contract_hash=self._hash,
            space=ActionChunk.JOINT,
            action_names=list(self._contract.action_names),
            reference=reference,
            dt_s=DT_S,
            horizon=horizon,
            action_dim=len(JOINTS),
            actions=[value for step in range(horizon) for value in self._row(start_s + step * DT_S, reference)],
            execute_steps=min(int(self.told["execute_steps"]), horizon),
            valid_for_s=float(self.told["valid_for_s"]),
            candidate=0,
            value=math.nan,
        )
        chunk.stamp = request.stamp
        chunk.stamp.observation = self._stamp
        return chunk

    def _row(self, at_s: float, reference: list[float]) -> list[float]:
        wave = self.told["amplitude_rad"] * math.sin(2.0 * math.pi * at_s / self.told["period_s"])
        waves = [wave if joint in _MOVING else 0.0 for joint in range(len(reference))]
        return [home + wave - now for home, wave, now in zip(self._home, waves, reference, strict=True)] + [1.0]


def make_contract(joint_names: list[str], horizon: int) -> Contract:
    """Joint targets for a policy that looks at nothing."""
    return Contract(
        action_space="joint",
        action_names=tuple(f"action_{name}" for name in joint_names),
        action_scale=(1.0,) * len(joint_names),
        action_offset=(0.0,) * len(joint_names),
        proprio_names=("none",),
        cameras=("none",),
        image_height=1,
        image_width=1,
        horizon=horizon,
        feature_dim=1,
        dt_s=DT_S,
        joint_names=tuple(joint_names),
        model_id="fake_policy",
    )


if __name__ == "__main__":
    run(FakePolicy)
