# SPDX-License-Identifier: Apache-2.0
"""Every tutorial does what its text says. What takes minutes or hours in the text is done shorter."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from experience.core.recording.reader import metadata
from harness.tutorial import PAGES, Tutorial
from whetstone_common.nodes.robot_files import find_robot

pytestmark = [pytest.mark.timeout(1000), pytest.mark.cores(2)]

TESTS = Path(__file__).resolve().parents[1]
# Pages that other tests run: documented_method.
ELSEWHERE = {"add-a-method.md"}
FOLLOWED = {
    "first-run.md",
    "sharpen-in-simulation.md",
    "your-own-arm.md",
    "your-own-demonstrations.md",
    "your-own-task.md",
    "your-own-vla.md",
}

_METHOD = """
expo: {edit_knots: 2, edit_scale: [0.01], margin: 0.0, select: lower}
critic: {members: 2, hidden: [32, 32]}
schedule: {base_episodes: 1, warm_up_updates: 2, updates_per_step: 0.05, batch: 16}
"""


@pytest.fixture
def reader(tmp_path: Path, cores: None) -> Iterator[Tutorial]:
    """Someone who follows a page."""
    made = Tutorial(tmp_path)
    yield made
    made.close()


def test_when_there_is_a_tutorial_expect_a_test_that_follows_it() -> None:
    assert {page.name for page in PAGES.glob("*.md")} == FOLLOWED | ELSEWHERE


def test_when_the_first_run_is_followed_expect_an_episode_figures_and_a_film(reader: Tutorial) -> None:
    said = reader.follow("first-run.md", {"--episodes 3": "--episodes 1"})
    assert "vla_node" in said and "1/1" in said
    assert len(json.loads((reader.folder / "out" / "eval.json").read_text())["rows"]) == 1
    assert (reader.folder / "out" / "eval.mp4").stat().st_size > 10_000
    assert (reader.folder / "out" / "eval.csv").read_text().count("\n") == 2


def test_when_a_policy_is_sharpened_as_told_expect_a_run_and_a_comparison(reader: Tutorial) -> None:
    (reader.folder / "short.yaml").write_text(_METHOD, encoding="utf-8")
    reader.follow(
        "sharpen-in-simulation.md",
        {
            "--episodes 40": "--episodes 1",
            "--minutes 19 --max-steps 11000": "--minutes 0.12 --evaluate-episodes 1 --method-file short.yaml",
            "--episodes 100": "--episodes 1",
        },
    )
    rows = [json.loads(line) for line in (reader.folder / "runs/mine/episodes.jsonl").read_text().splitlines()]
    assert rows and rows[-1]["updates"] > 0
    figures = json.loads((reader.folder / "out" / "mine.json").read_text())
    assert len(figures["trained"]["rows"]) == len(figures["base"]["rows"]) == 1


@pytest.mark.parametrize(
    ("robot", "output"),
    [("franka_fr3", "joint_trajectory"), ("ur5e", "forward_command"), ("so101", "forward_command")],
)
def test_when_an_arm_is_connected_as_told_expect_its_first_command(reader: Tutorial, robot: str, output: str) -> None:
    # In the text the reader's own drivers run.
    driver = f"exec {sys.executable} -m fakes.fake_driver --ros-args -p robot:={robot}"
    path = ":".join([str(TESTS), reader.env.get("PYTHONPATH", "")])
    reader.open_terminal("drivers", driver, env={"PYTHONPATH": path})
    said = reader.follow(
        "your-own-arm.md",
        {"robots/ur5e.yaml": f"robots/{robot}.yaml", "first_chunk.py forward_command": f"first_chunk.py {output}"},
    )
    assert "armed" in said and "first chunk: 16 steps of ['dx_m', " in said
    here, there = (json.loads(re.search(rf"{words} (\[.*\])", said)[1]) for words in ("is at", "go to"))
    expected = len(find_robot(robot).joints) + (robot == "so101")
    assert len(here) == len(there) == expected and here != there


def test_when_demonstrations_are_used_as_told_expect_a_model_that_serves(reader: Tutorial) -> None:
    said = reader.follow(
        "your-own-demonstrations.md",
        {
            "pick_place --episodes 20 --out": "pick_place --episodes 2 --out",
            "--steps 2000": "--steps 2",
            "--episodes 50": "--episodes 1 --max-steps 20",
        },
    )
    assert "/joint_states" in said and "'outcome': 'succeeded'" in said
    manifest = json.loads((reader.folder / "out" / "imitated" / "manifest.json").read_text())
    assert manifest["finetuned"]["steps"] == 2
    figures = json.loads((reader.folder / "out" / "imitated.json").read_text())
    assert [row["outcome"] for row in figures["rows"]] == ["timed_out"]


def test_when_a_vla_of_ones_own_is_used_as_told_expect_it_served_and_learnt_weights_played(reader: Tutorial) -> None:
    (reader.folder / "short.yaml").write_text(_METHOD, encoding="utf-8")
    (reader.folder / "pi0").mkdir()  # where the page writes the mapping file
    said = reader.follow(
        "your-own-vla.md",
        {
            "--model-dir pi0 --episodes 3": "--model-dir pi0 --episodes 1 --max-steps 20",
            "--episodes 20 --out out/demos": "--episodes 2 --out out/demos",
            "--steps 2000": "--steps 2",
            "--out pi0_token": "--out pi0_token --steps 4",
            "--minutes 19": "--minutes 0.3 --operator none --evaluate-episodes 1 --method-file short.yaml",
            "--run mine --episodes 50": "--run mine --episodes 1",
        },
    )
    assert "can be served" in said and "RL token of 64" in said
    rows = [json.loads(line) for line in (reader.folder / "runs/mine/episodes.jsonl").read_text().splitlines()]
    assert rows[-1]["policy_version"] > 0, "learnt weights were never played"


def test_when_a_task_is_written_as_told_expect_the_expert_to_solve_it_and_a_policy_to_be_judged(
    reader: Tutorial,
) -> None:
    reader.follow("your-own-task.md", {"--episodes 5": "--episodes 1", "--episodes 20": "--episodes 1 --max-steps 20"})
    (recording,) = (reader.folder / "out" / "tray" / "mcap").glob("*.mcap")
    known = metadata(recording)
    assert known["outcome"] == "succeeded" and known["task"] == "tray"
    assert re.fullmatch(r"put the \w+ block into the \w+ tray", known["instruction"])
    figures = json.loads((reader.folder / "out" / "tray.json").read_text())
    assert [(row["task"], row["outcome"]) for row in figures["rows"]] == [("tray", "timed_out")]
