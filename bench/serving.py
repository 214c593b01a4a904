# SPDX-License-Identifier: Apache-2.0
"""Serving overhead: from the first image on the wire to the chunk on the wire, around a model that does nothing."""

from __future__ import annotations

import time
from array import array
from pathlib import Path

import numpy as np
import yaml
from ament_index_python.packages import get_package_share_directory
from figures import Figure, summarise
from rclpy.context import Context
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from stage import stage, start_script, wait_known, wait_until_quiet
from std_msgs.msg import String
from vla_interfaces.msg import ActionChunk, Request, Stamp

from harness.world import World
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_time

GROUP = "Serving overhead around a null model (first image out to chunk in, separate processes)"
BAR_MS = 3.0
CAMERAS = ("front", "wrist", "side")
_JOINTS = (*(f"panda_joint{i}" for i in range(1, 8)), "panda_gripper")
_HOME = (0.0, -0.2608, 0.0, -2.4298, 0.0, 2.1690, 0.0008, 1.0)
_WARM_UP = 20
_LAP_TIMEOUT_S = 5.0


class Client:
    """Cameras and arm in one: sends images, joints and a request, and waits for the chunk."""

    def __init__(self, domain_id: int, cameras: tuple[str, ...], size_px: int) -> None:
        """Connect to the domain."""
        self._context = Context()
        self._context.init(domain_id=domain_id)
        self._node = Node("bench_client", context=self._context)
        self._executor = EventsExecutor(context=self._context)
        self._executor.add_node(self._node)
        make = self._node.create_publisher
        self._cameras = {name: make(Image, f"/camera/{name}/image_raw", qos.SENSOR_OUT) for name in cameras}
        self._joints = make(JointState, "/joint_states", qos.SENSOR_OUT)
        self._requests = make(Request, "request", qos.RING)
        self._words = make(String, "instruction", qos.LATCHED)
        self._node.create_subscription(ActionChunk, "action_chunk", self._on_chunk, qos.RING)
        self._pixels = np.random.default_rng(0).integers(0, 255, (size_px, size_px, 3), dtype=np.uint8)
        self._came_s = 0.0
        self._number = 0

    def introduce(self) -> None:
        """Say the words of the task."""
        self._words.publish(String(data="put the red cube on the blue plate"))

    def lap(self) -> float:
        """One lap of the ring; returns its duration (s), or NaN when no chunk came."""
        self._number += 1
        self._came_s = 0.0
        stamp_ns = time.time_ns()
        # Another pixel each time: identical images in a row are what a broken camera sends.
        self._pixels[0, 0] = self._number % 251
        images = self._images(stamp_ns)
        state = JointState(name=list(_JOINTS), position=list(_HOME))
        state.header.stamp = to_time(stamp_ns)
        stamp = Stamp(epoch=1, episode=1, request_id=self._number, sequence=self._number)
        self._requests.publish(Request(stamp=stamp, not_before=to_time(stamp_ns), deadline_s=_LAP_TIMEOUT_S, seed=1))
        self._joints.publish(state)
        # The request waits at the other side before the images leave.
        self._spin(0.003)
        began_s = time.perf_counter()
        for name, image in images.items():
            self._cameras[name].publish(image)
        while not self._came_s and time.perf_counter() - began_s < _LAP_TIMEOUT_S:
            self._executor.spin_once(timeout_sec=0.1)
        return self._came_s - began_s if self._came_s else float("nan")

    def pause(self, seconds: float) -> None:
        """Let the others rest."""
        self._spin(seconds)

    def close(self) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _images(self, stamp_ns: int) -> dict[str, Image]:
        height, width, _ = self._pixels.shape
        data = array("B", self._pixels.tobytes())
        images = {}
        for name in self._cameras:
            msg = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=data)
            msg.header.stamp = to_time(stamp_ns)
            msg.header.frame_id = name
            images[name] = msg
        return images

    def _spin(self, seconds: float) -> None:
        end_s = time.perf_counter() + seconds
        while (left_s := end_s - time.perf_counter()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def _on_chunk(self, _msg: ActionChunk) -> None:
        self._came_s = time.perf_counter()


def run(*, laps: int) -> list[Figure]:
    """All sizes and numbers of cameras."""
    figures = []
    for size_px in (96, 224):
        for count in (1, 2, 3):
            floor = _measure(size_px, CAMERAS[:count], laps, ring=False)
            ring = _measure(size_px, CAMERAS[:count], laps, ring=True)
            name = f"{count} x {size_px} px"
            base = summarise(GROUP, f"floor {name}", "ms", floor)
            bar = BAR_MS if (size_px, count) == (224, 2) else None
            figures += [base, summarise(GROUP, f"ring {name}", "ms", ring, baseline=base, bar=bar)]
    return figures


def _measure(size_px: int, cameras: tuple[str, ...], laps: int, *, ring: bool) -> list[float]:
    with stage() as world:
        names = start_ring(world, size_px, cameras) if ring else ["echo_node"]
        if not ring:
            start_script(world, "echo_node", *cameras)
        client = Client(world.domain_id, cameras, size_px)
        try:
            client.introduce()
            return _laps(world, client, names, laps)
        finally:
            client.close()


def start_ring(world: World, size_px: int, cameras: tuple[str, ...]) -> list[str]:
    """Start the ring around a null model; returns the names of its nodes."""
    robot = _robot_file(world.folder, cameras)
    shape = {"fake_image_size_px": size_px, "fake_cameras": list(cameras)}
    world.node("vla_policy", "observation_node", parameters={"robot_file": robot, "reliable_images": True})
    world.node("vla_policy", "vla_node", parameters={"robot_file": robot, "backend": "fake", **shape})
    world.node("vla_policy", "steering_node")
    return ["observation_node", "vla_node", "steering_node"]


def _robot_file(folder: Path, cameras: tuple[str, ...]) -> str:
    share = Path(get_package_share_directory("robot_bringup"))
    robot = yaml.safe_load((share / "config" / "robots" / "sim_panda.yaml").read_text(encoding="utf-8"))
    robot["urdf"] = str(share / "description" / robot["urdf"])
    robot["cameras"] = {name: f"/camera/{name}/image_raw" for name in cameras}
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(robot), encoding="utf-8")
    return str(path)


def _laps(world: World, client: Client, names: list[str], laps: int) -> list[float]:
    for name in names:
        wait_known(world.watcher, name, ("STARTING", "READY", "HOLDING"))
    wait_until_quiet(world, 1.0)
    good: list[float] = []
    lost = 0
    while len(good) < laps + _WARM_UP:
        lap_s = client.lap()
        client.pause(0.005)
        if np.isfinite(lap_s):
            good.append(1e3 * lap_s)
            continue
        lost += 1
        client.introduce()
        if lost > 10:
            raise AssertionError(f"{lost} laps without a chunk; {world.watcher.statuses[-3:]}")
    return good[_WARM_UP:]
