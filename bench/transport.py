# SPDX-License-Identifier: Apache-2.0
"""How many images of two cameras arrive, best effort, with our transport and with the default of rmw_fastrtps.

`python bench/transport.py` prints a line for each (docs/adr/0021-udp-alone.md).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Callable

from whetstone_common.nodes.transport import RANGE, udp_alone

_DOMAIN = "9"
_IMAGE, _RATE_HZ, _IMAGES_S = (480, 640), 30.0, 8.0


def environment(transport: str) -> dict[str, str]:
    """Of a participant, with the shipped transport ("udp") or with that of rmw_fastrtps ("shared memory")."""
    env = {**os.environ, "ROS_DOMAIN_ID": _DOMAIN, RANGE: "LOCALHOST"}
    return env | (udp_alone(env) if transport == "udp" else {})


def start(role: str, transport: str) -> subprocess.Popen[str]:
    """One participant in a process of its own."""
    command = [sys.executable, __file__, "--role", role]
    return subprocess.Popen(command, env=environment(transport), stdout=subprocess.PIPE, text=True)


def send_images() -> None:
    """What a camera driver sends, best effort; prints how many."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("cameras")
    publishers = [
        node.create_publisher(Image, f"camera/{name}", qos_profile_sensor_data) for name in ("front", "wrist")
    ]
    height, width = _IMAGE
    image = Image(
        height=height, width=width, encoding="rgb8", step=3 * width, data=array("B", bytes(3 * height * width))
    )
    while not all(publisher.get_subscription_count() for publisher in publishers):
        time.sleep(0.05)
    time.sleep(1.0)
    count = int(_IMAGES_S * _RATE_HZ)
    for _ in range(count):
        for publisher in publishers:
            publisher.publish(image)
        time.sleep(1.0 / _RATE_HZ)
    print(count * len(publishers))


def count_images() -> None:
    """Print how many images arrived, when none has come for two seconds."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("viewer")
    heard: list[float] = []
    for name in ("front", "wrist"):
        node.create_subscription(
            Image, f"camera/{name}", lambda _image: heard.append(time.monotonic()), qos_profile_sensor_data
        )
    while not heard or time.monotonic() - heard[-1] < 2.0:
        rclpy.spin_once(node, timeout_sec=0.1)
    print(len(heard))


def arrived(transport: str) -> str:
    """Images that arrived, of those that were sent."""
    viewer, cameras = start("count_images", transport), start("send_images", transport)
    sent, heard = cameras.communicate()[0], viewer.communicate()[0]
    return f"{int(heard)} of {int(sent)}"


ROLES: dict[str, Callable[[], None]] = {"send_images": send_images, "count_images": count_images}


def main() -> None:
    """Measure both transports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=sorted(ROLES), help=argparse.SUPPRESS)
    role = parser.parse_args().role
    if role:
        ROLES[role]()
        return
    for transport in ("shared memory", "udp"):
        print(f"{transport}: {arrived(transport)} images of 640 x 480 arrive", flush=True)


if __name__ == "__main__":
    main()
