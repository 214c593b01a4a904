# SPDX-License-Identifier: Apache-2.0
"""`whetstone doctor`: what this machine lacks, and how to put it right."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from whetstone_cli.cli import middleware
from whetstone_cli.cli.domain import DomainLock
from whetstone_cli.cli.stack import own_environment
from whetstone_common.core.child_process import die_with_parent
from whetstone_common.nodes.transport import PROFILES

_PYTHONS = ((3, 11), (3, 12))
_MIN_CORES = 2
_RENDER_TIMEOUT_S = 60.0
_ROUND_TRIPS = 20
_ROUND_TRIP_TIMEOUT_S = 10.0
PACKAGES = (
    "vla_interfaces", "whetstone_common", "rl_methods", "vla_policy", "experience", "rl_learner", "robot_bringup",
    "robot_operation", "operator_console", "sim_bridge", "whetstone_cli",
)  # fmt: skip
# The path that the wheels' builder left in their CMake files.
_BUILDER_PATH = "/opt/python/cp3"

_RENDER = """
import os
import time
from sim_bridge.core.world import World
world = World("pick_place", image_size=96)
world.reset(0)
world.render("front")
began = time.perf_counter()
for _ in range(10):
    world.render("front")
took_ms = 100 * (time.perf_counter() - began)
print(f"{os.environ['MUJOCO_GL']}, {took_ms:.1f} ms per 96 px picture")
"""

_ECHO = """
import rclpy
from std_msgs.msg import UInt32
rclpy.init()
node = rclpy.create_node("doctor_echo")
answer = node.create_publisher(UInt32, "doctor/answer", 10)
node.create_subscription(UInt32, "doctor/question", answer.publish, 10)
rclpy.spin(node)
"""


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def check_python() -> Finding:
    """The interpreter is one that the wheels exist for."""
    version = sys.version_info[:2]
    ok = _PYTHONS[0] <= version <= _PYTHONS[1]
    return Finding("Python", ok, sys.version.split()[0], "" if ok else "use Python 3.11 or 3.12")


def check_ros() -> Finding:
    """Rclpy comes from a distribution or from wheels."""
    spec = importlib.util.find_spec("rclpy")
    if spec is None or spec.origin is None:
        return Finding("ROS 2", ok=False, detail="rclpy cannot be imported", fix="make setup, then source tools/env.sh")
    distribution = os.environ.get("ROS_DISTRO")
    from_wheels = Path(sys.prefix) in Path(spec.origin).parents
    source = "PyPI wheels" if from_wheels else f"distribution {distribution or 'unknown'}"
    return Finding("ROS 2", ok=True, detail=f"{source}: {Path(spec.origin).parent}")


def check_wheels() -> Finding:
    """The wheels' CMake files point to this interpreter, not to their builder's."""
    files = list(Path(sys.prefix).glob("share/*/cmake/*.cmake"))
    broken = [path for path in files if _BUILDER_PATH in path.read_text(encoding="utf-8", errors="replace")]
    if not files:
        return Finding("ROS wheels", ok=True, detail="not used")
    detail = f"{len(broken)} of {len(files)} CMake files name the builder's Python"
    return Finding("ROS wheels", not broken, detail, "" if not broken else "make setup mends them")


def check_workspace() -> Finding:
    """Every package of the workspace is built and found."""
    missing = []
    for name in PACKAGES:
        try:
            get_package_share_directory(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("workspace", ok=False, detail=f"not found: {', '.join(missing)}", fix="make setup")
    return Finding("workspace", ok=True, detail=f"{len(PACKAGES)} packages")


def check_rendering() -> Finding:
    """The simulator can draw without a display."""
    fix = "apt-get install libegl1 libgl1-mesa-dri (or libosmesa6)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RENDER],
            capture_output=True,
            text=True,
            timeout=_RENDER_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding("rendering", ok=False, detail=f"no picture within {_RENDER_TIMEOUT_S:g} s", fix=fix)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return Finding("rendering", ok=False, detail=last[0], fix=fix)
    return Finding("rendering", ok=True, detail=done.stdout.strip())


def check_model() -> Finding:
    """The shipped model is there and is the one that was shipped."""
    fix = "git lfs is not used: git checkout the models folder again, or train with: make pocket"
    try:
        folder = Path(get_package_share_directory("vla_policy")) / "models" / "pocket"
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (PackageNotFoundError, OSError, ValueError) as error:
        return Finding("pocket VLA", ok=False, detail=str(error), fix=fix)
    wrong = [name for name, digest in file_digests(manifest).items() if _sha256(folder / name) != digest]
    if wrong:
        return Finding("pocket VLA", ok=False, detail=f"not as shipped: {', '.join(wrong)}", fix=fix)
    return Finding("pocket VLA", ok=True, detail=f"{len(file_digests(manifest))} files as shipped")


def file_digests(manifest: object) -> dict[str, str]:
    """SHA-256 by file name, wherever in the manifest they stand."""
    found: dict[str, str] = {}
    if isinstance(manifest, dict):
        for key, value in manifest.items():
            if isinstance(value, str) and "." in str(key) and len(value) == 64:
                found[str(key)] = value
            elif isinstance(value, dict) and "sha256" in value and "." in str(key):
                found[str(key)] = str(value["sha256"])
            else:
                found |= file_digests(value)
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def check_dds() -> Finding:
    """Two processes find each other and talk."""
    lock = DomainLock()
    env = own_environment(lock.domain_id)
    os.environ.update(env)
    echo = subprocess.Popen(
        [sys.executable, "-c", _ECHO], env=env, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent()
    )
    try:
        latency_ms, in_shared_memory = _round_trip_ms()
    finally:
        echo.kill()
        echo.wait()
        lock.release()
    if latency_ms is None:
        fix = "look for a firewall on the loopback device, or for a FASTDDS profile of your own"
        return Finding("DDS", ok=False, detail=f"no answer within {_ROUND_TRIP_TIMEOUT_S:g} s", fix=fix)
    if in_shared_memory:
        fix = f"unset {PROFILES}, or leave shared memory out of that profile: docs/adr/0021-udp-alone.md"
        return Finding(
            "DDS", ok=False, detail="uses shared memory: a process that is killed may stop the others", fix=fix
        )
    return Finding("DDS", ok=True, detail=f"round trip {latency_ms:.2f} ms (median of {_ROUND_TRIPS})")


def _round_trip_ms() -> tuple[float | None, bool]:
    """Median, None without all answers; and whether the participant has shared memory."""
    import rclpy
    from std_msgs.msg import UInt32

    context = rclpy.context.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("doctor", context=context)
    in_shared_memory = "/fastdds_" in Path("/proc/self/maps").read_text(encoding="utf-8")
    answers: list[int] = []
    node.create_subscription(UInt32, "doctor/answer", lambda msg: answers.append(msg.data), 10)
    question = node.create_publisher(UInt32, "doctor/question", 10)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    times_ms: list[float] = []
    end_s = time.monotonic() + _ROUND_TRIP_TIMEOUT_S
    number = 0
    try:
        while len(times_ms) < _ROUND_TRIPS and time.monotonic() < end_s:
            number += 1
            began_s = time.perf_counter()
            question.publish(UInt32(data=number))
            while number not in answers and time.perf_counter() - began_s < 0.2:
                executor.spin_once(timeout_sec=0.02)
            if number in answers:
                times_ms.append(1000 * (time.perf_counter() - began_s))
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
    median_ms = sorted(times_ms)[len(times_ms) // 2] if len(times_ms) == _ROUND_TRIPS else None
    return median_ms, in_shared_memory


def check_cores() -> Finding:
    """There are cores for simulator and policy."""
    count = len(os.sched_getaffinity(0))
    fix = "" if count >= _MIN_CORES else "everything works on one core, but slowly"
    return Finding("CPU", count >= _MIN_CORES, f"{count} cores", fix)


def check_middleware() -> Finding:
    """The middleware that the environment names is there."""
    problem = middleware.unknown()
    if problem:
        return Finding("middleware", ok=False, detail=problem, fix="unset RMW_IMPLEMENTATION")
    return Finding("middleware", ok=True, detail=os.environ.get("RMW_IMPLEMENTATION") or "the default")


def findings() -> list[Finding]:
    """Results of all checks; a check that fails is a finding too."""
    return [_result(check) for check in CHECKS]


def _result(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - whatever is broken, the other checks are wanted
        name = check.__name__.removeprefix("check_")
        fix = "make setup, then source tools/env.sh"
        return Finding(name, ok=False, detail=f"{type(error).__name__}: {error}", fix=fix)


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_python,
    check_ros,
    check_wheels,
    check_workspace,
    check_cores,
    check_model,
    check_rendering,
    check_middleware,
    check_dds,
)
