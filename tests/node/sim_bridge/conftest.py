# SPDX-License-Identifier: Apache-2.0
"""A sim_node with a client beside it, in a context and a domain of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from vla_interfaces.msg import Takeover, TaskTruth
from vla_interfaces.srv import SimReset

from harness.domains import DomainLock
from harness.until import NotReachedError
from sim_bridge.nodes.sim_node import SimNode
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_ns, to_time

DEADLINE_S = 20.0


class Bench:
    """A sim_node and what a client hears of it. Time passes only in `until`."""

    def __init__(self, domain_id: int, parameters: dict[str, Any]) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.sim = SimNode(context=self.context, parameter_overrides=overrides)
        self.client = rclpy.create_node("client", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.sim)
        self.executor.add_node(self.client)
        self.joints: list[JointState] = []
        self.truths: list[TaskTruth] = []
        self.aims: list[Takeover] = []
        self.infos: list[CameraInfo] = []
        self.images: dict[str, list[Image]] = {"front": [], "wrist": []}
        self._listen(JointState, "/joint_states", self.joints)
        self._listen(TaskTruth, "/sim/truth", self.truths)
        self._listen(Takeover, "/sim/expert", self.aims)
        self._listen(CameraInfo, "/camera/wrist/camera_info", self.infos)
        self.poses: dict[str, list[PoseStamped]] = {"front": [], "wrist": []}
        for name, poses in self.poses.items():
            self._listen(PoseStamped, f"/camera/{name}/pose", poses)
        for name, heard in self.images.items():
            self._listen(Image, f"/camera/{name}/image_raw", heard)
        self.trajectory = self.client.create_publisher(JointTrajectory, "/arm_controller/joint_trajectory", qos.COMMAND)
        self.forward = self.client.create_publisher(
            Float64MultiArray, "/forward_position_controller/commands", qos.COMMAND
        )
        self.gripper = self.client.create_publisher(Float64MultiArray, "/gripper_controller/commands", qos.COMMAND)
        self._resets = self.client.create_client(SimReset, "/sim/reset")
        self.sim.autostart()
        self.until(self._resets.service_is_ready)
        self.until(lambda: all(p.get_subscription_count() for p in (self.trajectory, self.forward, self.gripper)))
        self.until(lambda: self.joints and self.truths and all(self.images.values()))

    def _listen(self, msg_type: Any, topic: str, heard: list[Any]) -> None:
        profile = qos.RECORD if msg_type in (TaskTruth, Takeover) else qos.SENSOR_IN_RELIABLE
        self.client.create_subscription(msg_type, topic, heard.append, profile)

    def until(self, condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
        """Spin until `condition` is truthy, without pauses: the node under test lives in the same executor."""
        end_s = time.monotonic() + deadline_s
        while not (value := condition()):
            if time.monotonic() > end_s:
                raise NotReachedError(f"not within {deadline_s:g} s")
            self.executor.spin_once(timeout_sec=0.01)
        return value

    def reset(self, task: str, seed: int) -> SimReset.Response:
        """Call /sim/reset."""
        future = self._resets.call_async(SimReset.Request(task=task, seed=seed))
        self.until(future.done)
        return future.result()

    def send(self, positions: list[float], names: list[str] | None = None, stamp_ns: int = 0) -> None:
        """Publish a trajectory of one point."""
        msg = JointTrajectory(joint_names=names if names is not None else list(self.joints[-1].name))
        msg.header.stamp = to_time(stamp_ns)
        msg.points = [JointTrajectoryPoint(positions=positions)]
        self.trajectory.publish(msg)

    def tick(self, positions: list[float]) -> JointState:
        """Lockstep: command the present tick and wait until all of the next one is here."""
        present = to_ns(self.joints[-1].header.stamp)
        self.send(positions, stamp_ns=present)
        self.until(lambda: to_ns(self.joints[-1].header.stamp) > present)
        self.at(to_ns(self.joints[-1].header.stamp))
        return self.joints[-1]

    def at(self, stamp_ns: int) -> None:
        """Wait until joints, both images and the truth of `stamp_ns` are here."""

        def complete() -> bool:
            latest = [self.joints[-1].header, *(heard[-1].header for heard in self.images.values()), self.truths[-1]]
            return all(to_ns(item.stamp) >= stamp_ns for item in latest)

        self.until(complete)

    def counter(self, name: str) -> int:
        """A counter of the node."""
        return self.sim.counters[name]

    def close(self) -> None:
        """Stop everything."""
        self.sim.close()
        self.executor.shutdown()
        self.sim.destroy_node()
        self.client.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture(scope="module")
def domain_id() -> Iterator[int]:
    """A domain that nobody else uses."""
    lock = DomainLock()
    yield lock.domain_id
    lock.release()


@pytest.fixture
def make_bench(domain_id: int) -> Iterator[Callable[..., Bench]]:
    """Builds benches from parameters; closes them in the end."""
    benches: list[Bench] = []

    def make(**parameters: Any) -> Bench:
        benches.append(Bench(domain_id, {"image_size_px": 48} | parameters))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()
