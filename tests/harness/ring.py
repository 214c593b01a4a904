# SPDX-License-Identifier: Apache-2.0
"""What surrounds the policy's nodes: a robot with cameras, a person with words, an arm that asks."""

from __future__ import annotations

import time
from array import array
from typing import Any

import numpy as np
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from vla_interfaces.msg import Observation, PolicyContract, Request, Stamp

from harness.rig import Rig
from vla_policy.core.backends.fake import fake_spec
from vla_policy.core.serving import contract_of
from whetstone_common.core.contract import Contract
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import from_contract, to_time

ARM = tuple(f"panda_joint{i}" for i in range(1, 8))
JOINTS = (*ARM, "panda_gripper")
HOME = (0.0, -0.2608, 0.0, -2.4298, 0.0, 2.1690, 0.0008, 1.0)
SIZE = 96


def contract(**changes: Any) -> Contract:
    """The fake policy's contract on the simulated arm."""
    return contract_of(fake_spec(**changes), JOINTS, "")


def image(stamp_ns: int, *, size: int = SIZE, fill: int | None = None) -> Image:
    """A colour image; different each time unless it is filled."""
    pixels = np.full((size, size, 3), fill or 0, np.uint8)
    if fill is None:
        pixels[:8] = np.frombuffer(np.random.default_rng(stamp_ns).bytes(8 * size * 3), np.uint8).reshape(8, size, 3)
    msg = Image(height=size, width=size, encoding="rgb8", step=3 * size, data=array("B", pixels.tobytes()))
    msg.header.stamp = to_time(stamp_ns)
    return msg


def joint_state(stamp_ns: int, positions: tuple[float, ...] = HOME, names: tuple[str, ...] = JOINTS) -> JointState:
    """A joint state."""
    msg = JointState(name=list(names), position=list(positions))
    msg.header.stamp = to_time(stamp_ns)
    return msg


def request(number: int, *, kind: int = Request.ACT, not_before_ns: int = 0, seed: int = 7, **fields: Any) -> Request:
    """A request of epoch 1, episode 1."""
    return Request(
        stamp=Stamp(epoch=1, episode=1, request_id=number, sequence=number - 1),
        kind=kind,
        not_before=to_time(not_before_ns),
        seed=seed,
        **fields,
    )


def observation(number: int, *, size: int = SIZE, **fields: Any) -> Observation:
    """What observation_node would answer to `request(number)`."""
    asked = request(number, **fields)
    return Observation(
        stamp=asked.stamp,
        kind=asked.kind,
        cameras=["front", "wrist"],
        images=[image(number, size=size), image(number + 1, size=size)],
        joint_names=list(JOINTS),
        joint_positions=list(HOME),
        tcp_pose=np.array([0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]),
        proprio=[0.1] * 10,
        instruction="put the red cube on the blue plate",
        request=asked,
    )


class Surroundings:
    """Publishers of everything that observation_node reads."""

    def __init__(self, rig: Rig) -> None:
        """Connect."""
        self.rig = rig
        self.cameras = {name: rig.voice(f"/camera/{name}/image_raw", Image) for name in ("front", "wrist")}
        self.joints = rig.voice("/joint_states", JointState)
        self.ask = rig.voice("request", Request)
        self.say = rig.voice("instruction", String, qos.LATCHED)
        self.agree = rig.voice("policy_contract", PolicyContract, qos.LATCHED)

    def introduce(self, instruction: str = "put the red cube on the blue plate", **changes: Any) -> None:
        """Words and contract."""
        self.say(String(data=instruction))
        self.agree(from_contract(contract(**changes)))

    def tick(self, stamp_ns: int | None = None) -> int:
        """One image of each camera and one joint state, all with one stamp."""
        stamp_ns = stamp_ns or time.time_ns()
        for publish in self.cameras.values():
            publish(image(stamp_ns))
        self.joints(joint_state(stamp_ns))
        return stamp_ns
