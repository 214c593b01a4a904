# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from mcap_ros2.writer import Writer

from experience.core.lerobot_export.dataset import DatasetWriteError, DatasetWriter
from experience.core.lerobot_export.frames import DatasetFrame, ExportedEpisode, Topics, episode_of, image_of
from experience.core.lerobot_export.layout import FILES_PER_CHUNK, DatasetSchema, FileIndex
from experience.core.recording.reader import RecordingError

JOINTS = ("j1", "j2", "gripper")
SCHEMA = DatasetSchema(fps=20, robot="panda", joints=JOINTS, cameras=(("front", 64, 96), ("wrist", 64, 96)))


def frame(level: int) -> DatasetFrame:
    image = np.full((64, 96, 3), level, dtype=np.uint8)
    return DatasetFrame(
        state=np.array([level, 0.5, 1.0], dtype=np.float32),
        action=np.array([level + 1, 0.5, 0.0], dtype=np.float32),
        tcp_target=np.arange(8, dtype=np.float32),
        actor=2,
        images={"front": image, "wrist": 255 - image},
    )


def episode(instruction: str, levels: list[int], *, success: bool = True) -> ExportedEpisode:
    return ExportedEpisode(instruction, success, JOINTS, tuple(frame(level) for level in levels))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    writer = DatasetWriter(tmp_path / "set", SCHEMA)
    writer.add(episode("red", [10, 60, 110]))
    writer.add(episode("blue", [200, 150], success=False))
    writer.add(episode("red", [30, 40, 50, 60]))
    return writer.finish()


def test_when_exported_expect_info_of_version_3_with_counts(root: Path) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"]) == ("v3.0", 20)
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 9, 2)
    assert info["features"]["observation.images.front"]["shape"] == [64, 96, 3]
    assert info["features"]["action"]["names"] == list(JOINTS)
    assert info["splits"] == {"train": "0:3"}


def test_when_exported_expect_rows_in_order_with_task_and_end_marks(root: Path) -> None:
    rows = pq.read_table(root / "data/chunk-000/file-000.parquet").to_pydict()
    assert rows["index"] == list(range(9))
    assert rows["episode_index"] == [0] * 3 + [1] * 2 + [2] * 4
    assert rows["frame_index"] == [0, 1, 2, 0, 1, 0, 1, 2, 3]
    assert rows["task_index"] == [0] * 3 + [1] * 2 + [0] * 4
    assert rows["next.done"] == [False, False, True, False, True, False, False, False, True]
    assert rows["next.reward"] == [0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert rows["timestamp"][:3] == pytest.approx([0.0, 0.05, 0.1])
    assert rows["action"][1] == pytest.approx([61, 0.5, 0.0])


def test_when_exported_expect_features_and_columns_to_agree(root: Path) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    schema = pq.read_schema(root / "data/chunk-000/file-000.parquet")
    numeric = {name: f for name, f in info["features"].items() if f["dtype"] != "video"}
    assert set(schema.names) == set(numeric)
    for name, feature in numeric.items():
        kind = schema.field(name).type
        if feature["shape"] != [1]:
            assert kind.list_size == feature["shape"][0]
            kind = kind.value_type
        assert str(kind).replace("float", "float32").replace("float3232", "float32") == feature["dtype"]


def test_when_exported_expect_each_episode_at_its_place_in_the_video(root: Path) -> None:
    entries = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    with av.open(str(root / "videos/observation.images.front/chunk-000/file-000.mp4")) as container:
        frames = [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24").mean()) for f in container.decode(video=0)]
    assert [time_s for time_s, _ in frames] == pytest.approx([i / 20 for i in range(9)])
    starts = [entry["videos/observation.images.front/from_timestamp"] for entry in entries]
    assert starts == pytest.approx([0.0, 0.15, 0.25])
    levels = [level for _, level in frames]
    assert levels == pytest.approx([10, 60, 110, 200, 150, 30, 40, 50, 60], abs=6)
    assert [(e["dataset_from_index"], e["dataset_to_index"]) for e in entries] == [(0, 3), (3, 5), (5, 9)]
    assert entries[1]["tasks"] == ["blue"]
    assert entries[0]["stats/action/max"] == pytest.approx([111, 0.5, 0.0])


def test_when_exported_expect_tasks_indexed_by_instruction(root: Path) -> None:
    table = pq.read_table(root / "meta/tasks.parquet")
    assert dict(zip(table["task"].to_pylist(), table["task_index"].to_pylist(), strict=True)) == {"red": 0, "blue": 1}
    assert json.loads(table.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def test_when_exported_expect_stats_of_numbers_and_images(root: Path) -> None:
    stats = json.loads((root / "meta/stats.json").read_text())
    assert stats["action"]["count"] == [9]
    assert stats["action"]["min"] == pytest.approx([11, 0.5, 0.0])
    assert np.shape(stats["observation.images.front"]["mean"]) == (3, 1, 1)
    assert stats["observation.images.front"]["max"][0][0][0] == pytest.approx(200 / 255)


def test_when_the_folder_exists_expect_refusal(root: Path) -> None:
    with pytest.raises(DatasetWriteError, match="exists"):
        DatasetWriter(root, SCHEMA)


def test_when_there_is_no_episode_expect_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetWriteError, match="no episode"):
        DatasetWriter(tmp_path / "set", SCHEMA).finish()
    assert not (tmp_path / "set").exists()


def test_when_an_episode_has_other_cameras_expect_refusal(tmp_path: Path) -> None:
    bad = DatasetFrame(**{**frame(1).__dict__, "images": {"front": np.zeros((64, 96, 3), np.uint8)}})
    with pytest.raises(DatasetWriteError, match="images"):
        DatasetWriter(tmp_path / "set", SCHEMA).add(ExportedEpisode("red", True, JOINTS, (bad,)))


def test_when_a_chunk_folder_is_full_expect_the_next_one() -> None:
    assert FileIndex(0, FILES_PER_CHUNK - 1).next() == FileIndex(1, 0)
    assert FileIndex(0, 0).next() == FileIndex(0, 1)


def recorded(
    tmp_path: Path, *, images_at: list[int], steps_at: list[int], topic: str = "/camera/front/image_raw"
) -> Path:
    """Recording of one camera whose pixels tell their time, and of executed steps; in PNG on a compressed topic."""
    path = tmp_path / "e.mcap"
    header = "=" * 80 + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
    time = "=" * 80 + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
    stamp = "=" * 80 + "\nMSG: vla_interfaces/Stamp\nuint32 episode\n"
    image_text = (
        "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint32 step\nuint8[] data\n"
        + header
        + time
    )
    step_text = (
        "vla_interfaces/Stamp stamp\nuint32 episode_step\nbuiltin_interfaces/Time time\nuint8 actor\n"
        "float64[] joint_command\nfloat64[] joint_positions\nfloat64[7] tcp_target\n" + stamp + time
    )
    with path.open("wb") as stream:
        writer = Writer(stream)
        png_text = "std_msgs/Header header\nstring format\nuint8[] data\n" + header + time
        image = writer.register_msgdef("sensor_msgs/msg/Image", image_text)
        if topic.endswith("/compressed"):
            image = writer.register_msgdef("sensor_msgs/msg/CompressedImage", png_text)
        step = writer.register_msgdef("vla_interfaces/msg/Executed", step_text)
        for sec in images_at:
            message = {
                "header": {"stamp": {"sec": sec, "nanosec": 0}, "frame_id": ""},
                "height": 2, "width": 2, "encoding": "bgr8", "step": 6, "data": [sec, 0, 7] * 4,
            }  # fmt: skip
            if topic.endswith("/compressed"):
                content = cv2.imencode(".png", np.full((2, 2, 3), (sec, 0, 7), np.uint8))[1].tobytes()
                message = {"header": message["header"], "format": "png", "data": list(content)}
            writer.write_message(topic, image, message, log_time=sec, publish_time=sec)
        for index, sec in enumerate(steps_at):
            message = {
                "stamp": {"episode": 4}, "episode_step": index, "time": {"sec": sec, "nanosec": 0}, "actor": 1,
                "joint_command": [0.1, 0.2, 1.0], "joint_positions": [0.0, 0.1, 0.5], "tcp_target": [0.0] * 7,
            }  # fmt: skip
            writer.write_message("/executed", step, message, log_time=sec, publish_time=sec)
        known = {"episode": "4", "steps": "9", "start_ns": str(10 * 10**9), "instruction": "go", "outcome": "succeeded"}
        writer._writer.add_metadata("episode", known)  # noqa: SLF001
        writer.finish()
    return path


@pytest.mark.parametrize("topic", ["/camera/front/image_raw", "/camera/front/image_raw/compressed"])
def test_when_read_from_a_recording_expect_the_newest_picture_before_each_step_and_none_of_the_old_scene(
    tmp_path: Path, topic: str
) -> None:
    path = recorded(tmp_path, images_at=[8, 11, 13], steps_at=[10, 11, 12, 14], topic=topic)
    read = episode_of(path, JOINTS, Topics(cameras=(("front", "/camera/front/image_raw"),)))
    # The step at 10 s has only a picture of the scene before the reset, so it cannot be used.
    assert [int(f.images["front"][0, 0, 2]) for f in read.frames] == [11, 11, 13]
    assert [int(f.images["front"][0, 0, 0]) for f in read.frames] == [7, 7, 7]
    assert read.success
    assert read.frames[0].action.tolist() == pytest.approx([0.1, 0.2, 1.0])


@pytest.mark.parametrize("encoding", ["bgra8", "rgba8"])
def test_when_a_camera_recorded_with_alpha_expect_its_colours(encoding: str) -> None:
    red = [0, 0, 200, 255] if encoding == "bgra8" else [200, 0, 0, 255]
    msg = SimpleNamespace(height=2, width=2, encoding=encoding, step=8, data=bytes(red * 4))
    assert image_of(msg).reshape(-1, 3).tolist() == [[200, 0, 0]] * 4


def test_when_a_camera_recorded_jpeg_expect_its_colours_and_of_a_broken_one_why() -> None:
    content = cv2.imencode(".jpg", np.full((8, 8, 3), (30, 30, 200), np.uint8))[1].tobytes()
    msg = SimpleNamespace(format="rgb8; jpeg compressed bgr8", data=content)
    assert np.abs(image_of(msg).astype(int) - [200, 30, 30]).max() < 12
    with pytest.raises(RecordingError, match="image: JPEG is truncated"):
        image_of(SimpleNamespace(format="jpeg", data=content[:-20]))


@pytest.mark.parametrize(("encoding", "step"), [("nv12", 2), ("16UC1", 4), ("rgb8", 5)])
def test_when_a_recorded_picture_cannot_be_read_expect_why(encoding: str, step: int) -> None:
    msg = SimpleNamespace(height=2, width=2, encoding=encoding, step=step, data=bytes(2 * step))
    with pytest.raises(RecordingError, match="image: (encoding '.*' is not accepted|step 5)"):
        image_of(msg)


def test_when_the_robot_has_other_joints_expect_refusal(tmp_path: Path) -> None:
    path = recorded(tmp_path, images_at=[11], steps_at=[11])
    with pytest.raises(RecordingError, match="3 joints recorded, 2 named"):
        episode_of(path, JOINTS[:2], Topics(cameras=(("front", "/camera/front/image_raw"),)))


def test_when_no_step_has_a_picture_expect_refusal(tmp_path: Path) -> None:
    path = recorded(tmp_path, images_at=[20], steps_at=[11])
    with pytest.raises(RecordingError, match="no step with images"):
        episode_of(path, JOINTS, Topics(cameras=(("front", "/camera/front/image_raw"),)))
