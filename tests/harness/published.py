# SPDX-License-Identifier: Apache-2.0
"""Tiny checkpoints that LeRobot wrote (tests/data/published, by tools/foreign_checkpoints.py), as directories to serve.

Seven joints in degrees and a gripper in percent; LeRobot's own actions for one observation lie beside them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from vla_policy.core.protocol import Observation

DATA = Path(__file__).parents[1] / "data" / "published"
JOINTS = (*(f"panda_joint{i}" for i in range(1, 8)), "panda_gripper")
CAMERAS = {"observation.images.top": "front", "observation.images.hand": "wrist", "observation.images.spare": "null"}
WORDS = "lift the cube"


def mapping_text(
    actions: str = "absolute",
    *,
    joints: tuple[str, ...] = JOINTS,
    cameras: dict[str, str] | None = None,
    more: str = "",
) -> str:
    """A mapping file for the robot of the data."""
    units = {"panda_gripper": "percent"}
    rows = "".join(f"  - {{name: {name}, unit: {units.get(name, 'deg')}}}\n" for name in joints)
    images = "".join(f"  {name}: {camera}\n" for name, camera in (cameras or CAMERAS).items())
    return (
        f"action_space: joint\nactions: {actions}\ndt_s: 0.1\ntokenizer: tokenizer\n{more}"
        f"cameras:\n{images}state:\n{rows}action:\n{rows}"
    )


def checkpoint(folder: Path, case: str = "mean_std", mapping: str | None = None) -> Path:
    """A directory as `lerobot-train` leaves it, with the mapping file of an operator."""
    shutil.copytree(DATA / case, folder)
    shutil.copytree(DATA / "tokenizer", folder / "tokenizer")
    if case != "mean_std":
        shutil.copyfile(DATA / "mean_std" / "model.safetensors", folder / "model.safetensors")
    text = mapping_text("relative" if case == "relative" else "absolute") if mapping is None else mapping
    (folder / "whetstone.yaml").write_text(text, encoding="utf-8")
    return folder


def expected() -> dict[str, np.ndarray]:
    """Inputs, noises and LeRobot's actions."""
    return load_file(DATA / "expected.safetensors")


def observation(words: str = WORDS) -> Observation:
    """The observation of the data in the robot's units."""
    given = expected()
    state = given["observation.state"].astype(np.float64)
    proprio = np.concatenate([np.deg2rad(state[:7]), state[7:] / 100.0]).astype(np.float32)
    return Observation(
        {"front": given["observation.images.top"], "wrist": given["observation.images.hand"]}, proprio, words
    )


def as_lerobot(chunks: np.ndarray, proprio: np.ndarray) -> np.ndarray:
    """Contract's chunks in physical units -> [..., 8] degrees and percent, absolute, as LeRobot sends them."""
    joints = chunks[..., :7].astype(np.float64) + proprio[:7]
    return np.concatenate([np.rad2deg(joints), 100.0 * chunks[..., 7:]], axis=-1)
