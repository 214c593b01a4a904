# SPDX-License-Identifier: Apache-2.0
"""Recordings are read by libraries that know nothing of ours, and hold what docs/how-to/look-inside.md says."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader
from vla_interfaces.msg import Executed

from fakes.recordings import FRONT, recording
from whetstone_common.nodes.robot_files import find_robot

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "how-to" / "look-inside.md"
LAYOUT = ROOT / "docs" / "files" / "foxglove_layout.json"
_PATH = re.compile(r"^(?P<topic>(?:/\w+)+?)(?:\.(?P<field>\w+)(?P<index>\[[\d:]+\])?)?$")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return recording(tmp_path / "recording.mcap", range(4), decided=[(3, "put the red cube on the blue plate")])


def test_when_rosbags_reads_a_recording_expect_every_message_with_its_fields(file: Path) -> None:
    with AnyReader([file]) as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
        said = {c.topic: reader.deserialize(data, c.msgtype) for c, _, data in reader.messages()}
    assert counts[FRONT] == counts["/executed"] == 4 and counts["/decision"] == 1
    image: Any = said[FRONT]
    assert image.encoding == "rgb8" and image.data.size == image.height * image.step
    executed: Any = said["/executed"]
    assert executed.joint_command.shape == (8,) and np.isfinite(executed.joint_command).all()
    assert said["/decision"].instruction == "put the red cube on the blue plate"


def test_when_mcap_ros2_reads_a_recording_expect_the_same_steps(file: Path) -> None:
    with file.open("rb") as stream:
        decoded = make_reader(stream, decoder_factories=[DecoderFactory()]).iter_decoded_messages(topics=["/executed"])
        steps = [message for *_, message in decoded]
    assert [step.episode_step for step in steps] == [0, 1, 2, 3]
    assert {step.actor for step in steps} == {Executed.HUMAN}


def test_when_the_programs_of_the_page_are_run_expect_them_to_print(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(file.parent)
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        exec(compile(program, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert "vla_interfaces__msg__Executed" in printed and len(printed.splitlines()) > 10


def test_when_the_layout_is_opened_expect_every_topic_and_field_to_be_recorded() -> None:
    schema = ROOT / "ros2_ws/src/experience/config/recorder_node_params.yaml"
    entries = [entry.split() for entry in yaml.safe_load(schema.read_text())["topics"]["default"]]
    kinds = {f"/{topic}": kind for topic, kind, _ in entries}
    robot = find_robot("sim_panda")  # recorder_node adds its sensors
    kinds |= {f"/{topic}": "sensor_msgs/msg/Image" for topic in robot.cameras.values()}
    kinds[f"/{robot.joint_states_topic}"] = "sensor_msgs/msg/JointState"
    layout = json.loads(LAYOUT.read_text(encoding="utf-8"))
    named = set(re.findall(r'"(?:value|imageTopic|topicPath)": "(/[^"]+)"', json.dumps(layout)))
    assert {"/camera/front/image_raw", "/executed.actor", "/instruction"} <= named
    for path in named:
        match = _PATH.match(path)
        assert match is not None, path
        package, kind, name = kinds[match["topic"]].split("/")
        fields = getattr(import_module(f"{package}.{kind}"), name).get_fields_and_field_types()
        assert match["field"] is None or match["field"] in fields, path
        assert not match["index"] or fields[match["field"]].endswith("]") or "sequence" in fields[match["field"]], path


def test_when_panels_are_laid_out_expect_each_configured_panel_once() -> None:
    layout = json.loads(LAYOUT.read_text(encoding="utf-8"))

    def panels(node: Any) -> list[str]:
        return [node] if isinstance(node, str) else panels(node["first"]) + panels(node["second"])

    assert sorted(panels(layout["layout"])) == sorted(layout["configById"])
