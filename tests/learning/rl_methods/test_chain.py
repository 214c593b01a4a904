# SPDX-License-Identifier: Apache-2.0
"""Every online method carries a reward back through a chain of windows: its backup, mask and discount are right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from fakes.chain_task import ChainTask, Change
from fakes.identity_task import SHAPE
from fakes.threads import one_thread
from rl_methods.common.batch import Batch
from rl_methods.config import read_method_config
from rl_methods.registry import online_methods, settings_file

TOLERANCE = 0.1  # what methods that maximise over a learned critic overestimate is within it


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with one_thread():
        yield


def without_mask(batch: Batch) -> Batch:
    return replace(batch, mask=torch.ones_like(batch.mask))


def without_discount(batch: Batch) -> Batch:
    return replace(batch, discount=torch.ones_like(batch.discount))


def discount_of_one_step(batch: Batch) -> Batch:
    return replace(batch, discount=batch.discount ** (1.0 / SHAPE.steps))


def without_backup(batch: Batch) -> Batch:
    return replace(batch, mask=torch.zeros_like(batch.mask))


def farthest(task: ChainTask) -> float:
    """Largest distance of a state's learned value from the known one."""
    return max(abs(value - right) for value, right in zip(task.learned(), task.expected(), strict=True))


@pytest.mark.parametrize("name", online_methods())
def test_when_a_reward_lies_four_windows_ahead_expect_the_known_value_of_each_state(name: str) -> None:
    task = ChainTask(read_method_config(settings_file(name)))
    assert task.learned() == pytest.approx(task.expected(), abs=TOLERANCE)


@pytest.mark.parametrize("change", [without_mask, without_discount, discount_of_one_step, without_backup])
def test_when_a_method_leaves_out_a_part_of_the_backup_expect_values_that_are_told_apart(change: Change) -> None:
    task = ChainTask(read_method_config(settings_file("rlt")), change)
    assert farthest(task) > 2 * TOLERANCE
