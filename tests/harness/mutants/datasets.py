# SPDX-License-Identifier: Apache-2.0
"""Removed protections of whoever reads a dataset."""

from __future__ import annotations

from collections.abc import Callable

from harness.mutants import replace


def joint_values_are_believed() -> None:
    """Whatever a recorder writes is taken for radians and openings."""
    replace("whetstone_common.core.joint_range:JointRange.first_outside", lambda _self, _values: None)


def joint_names_are_not_read() -> None:
    """The order of the joints is taken for the robot's, whatever the dataset calls them."""
    replace("rl_learner.core.episode_preprocessing:names_problem", lambda _found, _wanted: "")


def pictures_are_counted() -> None:
    """The next picture is the next frame's, whenever it was taken."""
    replace("experience.core.dataset:TOLERANCE_FRAMES", 1.5)


def empty_is_enough() -> None:
    """Prior data without a transition are prior data."""
    replace("experience.core.prior:_check_not_empty", lambda _folder, _count: None)


DATASETS: dict[str, Callable[[], None]] = {
    mutation.__name__: mutation
    for mutation in (empty_is_enough, joint_names_are_not_read, joint_values_are_believed, pictures_are_counted)
}
