# SPDX-License-Identifier: Apache-2.0
"""Transitions of the ring's own nodes: observation, a null VLA, steering and the arm in a world that waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory
from vla_interfaces.msg import Decision, EpisodeEvent, Executed, PolicyContract, Reward, Stamp
from vla_interfaces.srv import Resume

from experience.core.codec import decode
from experience.core.records import EpisodeEventKind
from experience.core.spool import RecordKind, read_all
from experience.core.transition import Transition
from experience.nodes.transition_node import TransitionNode
from harness.rig import Rig
from harness.ring import HOME, image, joint_state
from robot_bringup.nodes.arm_node import ArmNode
from vla_policy.nodes.observation_node import ObservationNode
from vla_policy.nodes.steering_node import SteeringNode
from vla_policy.nodes.vla_node import VlaNode
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_contract, to_ns, to_time

TICK_NS = 50_000_000
FIRST_NS = 10**10
STEPS = 20
# A world that waits says so now and then, as a message before everyone listened is lost.
_REPEAT_S = 2.0


class Ring:
    """All nodes of the ring, and a world that goes one tick per command."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig, self.folder = rig, folder
        self.decisions = rig.hear("decision", Decision)
        self._executed = rig.hear("executed", Executed)
        self.contracts = rig.hear("policy_contract", PolicyContract, qos.LATCHED)
        self.cameras = {name: rig.voice(f"/camera/{name}/image_raw", Image) for name in ("front", "wrist")}
        self.joints = rig.voice("/joint_states", JointState)
        self.clock = rig.voice("/clock", Clock, qos.SENSOR_OUT)
        rig.probe.create_subscription(
            JointTrajectory, "/arm_controller/joint_trajectory", self._on_command, qos.SENSOR_IN_RELIABLE
        )
        self.stamp_ns, self.positions = FIRST_NS, HOME
        self.arm = rig.add(ArmNode, pace="lockstep", use_sim_time=True, autoarm=True, query_stride=4)
        rig.add(ObservationNode, pace="lockstep", use_sim_time=True)
        rig.add(SteeringNode, n_candidates=2, execute_steps=8)
        self.transitions = rig.add(
            TransitionNode, directory=str(folder), pace="lockstep", min_free_mb=0.0, episode_grace_s=20.0
        )
        rig.add(VlaNode, backend="fake", fake_pattern="sine", fake_value=0.005, n_candidates=2)
        rig.voice("instruction", String, qos.LATCHED)(String(data="put the red cube on the blue plate"))
        self.reward = rig.voice("reward", Reward)
        self.episode = rig.voice("episode", EpisodeEvent)
        rig.probe.create_timer(_REPEAT_S, self.show)

    def show(self) -> None:
        """Joints and images of the tick."""
        self.clock(Clock(clock=to_time(self.stamp_ns)))
        for publish in self.cameras.values():
            publish(image(self.stamp_ns))
        self.joints(joint_state(self.stamp_ns, tuple(self.positions)))

    @property
    def executed(self) -> list[Executed]:
        """Steps of episodes, without what the arm says to be heard."""
        return [step for step in self._executed if step.stamp.episode]

    def _on_command(self, msg: JointTrajectory) -> None:
        if to_ns(msg.header.stamp) == self.stamp_ns:
            self.positions = list(msg.points[0].positions)
            self.stamp_ns += TICK_NS
            self.show()

    def run(self) -> None:
        """One episode of STEPS steps that succeeds."""
        self.show()
        armed = (State.READY, Reason.NONE)
        self.rig.until(lambda: self.arm.status[:2] == armed, what=f"armed, it is {self.arm.status}")
        client = self.rig.probe.create_client(Resume, "arm_node/resume")
        self.rig.until(client.service_is_ready)
        future = client.call_async(Resume.Request(seed=3, max_steps=STEPS))
        self.rig.until(future.done)
        answer = future.result()
        assert answer.success, answer.message
        for done in range(STEPS):
            self.rig.until(lambda n=done: len(self.executed) > n, 30.0, f"step {done} is executed")
        # The record of a step is out before the world moves.
        self.rig.until(lambda: self.stamp_ns == FIRST_NS + STEPS * TICK_NS, 30.0, "the last step is done")
        who = {"epoch": answer.epoch, "episode": answer.episode}
        self.reward(Reward(stamp=Stamp(**who), episode_step=STEPS, reward=1.0, terminal=True))
        end = {"event": EpisodeEvent.SUCCEEDED, "task": "pick_place", "steps": STEPS, "time": to_time(self.stamp_ns)}
        self.episode(EpisodeEvent(**who, **end))
        self.rig.until(lambda: self.transitions.counters["episodes"] == 1, 60.0, "the episode is joined")
        self.rig.until(lambda: self.transitions.counters["transitions"], what="stored")

    def stored(self) -> list[Transition]:
        """What is on the disk."""
        records = read_all(self.folder / "default" / "transitions")
        return [decode(r.payload) for r in records if r.kind is RecordKind.DATA]


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    rig = Rig()
    yield Ring(rig, tmp_path)
    rig.close()


def test_when_the_ring_plays_an_episode_expect_its_decisions_and_steps_in_the_transitions(ring: Ring) -> None:
    ring.run()
    made = ring.stored()
    contract = to_contract(ring.contracts[-1])
    acts = [t for t in made if t.request_kind == 0]
    assert [(t.episode_step, t.steps) for t in acts] == [(0, 8), (8, 8), (16, 4)]
    # A world that waits for commands does not wait for looks, so theirs start when they were seen.
    looks = [t.episode_step for t in made if t.request_kind == 1]
    assert len(looks) == 2 and 4 <= looks[0] < 8 and 12 <= looks[1] < 16
    for t in made:
        is_last = t.episode_step + t.steps == STEPS
        assert (t.mask, t.next_features.size == 0) == (0.0 if is_last else 1.0, is_last)
        rewards = [*t.rewards.tolist(), *t.later_rewards.tolist()]
        assert rewards == [0.0] * (STEPS - 1 - t.episode_step) + [1.0] and len(t.rewards) == t.steps
    assert all(t.outcome == EpisodeEventKind.SUCCEEDED and t.valid and (t.actors == 1).all() for t in made)
    decisions = {d.stamp.request_id: d for d in ring.decisions}
    for t in made:
        told = decisions[t.request_id]
        assert t.candidates.ravel().tolist() == list(told.candidates)
        assert t.noise.ravel().tolist() == list(told.noise) and len(t.candidates) == 2
        assert t.features.tolist() == list(told.features) and t.instruction == told.instruction
    by_start = {t.episode_step: t for t in made}
    for t in (t for t in made if t.mask):
        following = by_start[t.episode_step + t.steps]
        assert np.array_equal(t.next_candidates, following.candidates)
        assert np.array_equal(t.next_features, following.features)
    # Where a chunk itself played, the arm has said the same of it: relative to the same reference, physical units.
    scale, offset = np.array(contract.action_scale), np.array(contract.action_offset)
    for t in acts:
        physical = t.actions[: t.steps] * scale + offset
        said = np.array([s.action for s in ring.executed[t.episode_step : t.episode_step + t.steps]])
        assert physical == pytest.approx(said, abs=2e-5)
