# SPDX-License-Identifier: Apache-2.0
"""observation_node with cameras that publish as drivers do: a webcam in YUV at 30 Hz, JPEG at 60 Hz."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from std_msgs.msg import String
from vla_interfaces.msg import Observation

from harness.cells import write_robot
from harness.ring import contract, request
from harness.until import until
from harness.watcher import LATCHED
from harness.world import World
from whetstone_common.nodes.convert import from_contract

# The names that realsense2_camera and v4l2_camera choose, the latter in a namespace.
JPEG, WEBCAM = "/camera/camera/color/image_raw", "/wrist_camera/image_raw"
_REQUESTS = 40


def robot_with(folder: Path, **cameras: str) -> str:
    """Robot file of the tests with other camera topics; returns its path."""
    path = Path(write_robot(folder))
    robot = yaml.safe_load(path.read_text(encoding="utf-8")) | {"cameras": cameras}
    path.write_text(yaml.safe_dump(robot), encoding="utf-8")
    return str(path)


@pytest.mark.cores(4)
def test_when_a_webcam_and_a_depth_camera_publish_as_their_drivers_do_expect_every_request_answered(
    world: World,
) -> None:
    webcam = {"sends": "yuv422_yuy2", "rate_hz": 30.0}
    world.fake("fake_camera", name="webcam", parameters=webcam, remap={"image_raw": WEBCAM})
    depth = {"sends": "jpeg", "rate_hz": 60.0}
    world.fake("fake_camera", name="depth", parameters=depth, remap={"image_raw/compressed": f"{JPEG}/compressed"})
    world.fake("fake_arm")
    robot = {"robot_file": robot_with(world.folder, front=f"{JPEG}/compressed", wrist=WEBCAM)}
    world.node("vla_policy", "observation_node", parameters=robot)
    answers = world.watcher.listen(Observation, "observation")
    world.watcher.say(String(data="put the red cube on the blue plate"), "instruction", LATCHED, deadline_s=40.0)
    world.watcher.say(from_contract(contract()), "policy_contract", LATCHED)
    world.watcher.wait_state("observation_node", "READY", 40.0)

    for number in range(1, _REQUESTS + 1):
        not_before_ns = time.time_ns()
        world.watcher.say(request(number, not_before_ns=not_before_ns), "request")
        until(lambda n=number: len(answers) >= n, 5.0, f"answer {number}")
        answer: Observation = answers[-1][1]
        assert answer.stamp.request_id == number and answer.image_skew_s < 0.06
        assert [(each.height, each.width, each.encoding) for each in answer.images] == [(96, 96, "rgb8")] * 2
        grey = np.array([each.data for each in answer.images]).reshape(2, -1, 3).astype(int)
        # Both cameras see the grey ramp: colours that were taken for one another would not be equal.
        assert np.ptp(grey, axis=2).max() <= 8 and grey.std() > 20.0
    counters = world.watcher.latest("observation_node").counters
    assert not [name for name, count in counters.items() if name.endswith("_bad") and count], counters
