# SPDX-License-Identifier: Apache-2.0
"""The gripper's three choices: what is possible, what is commanded, what was chosen."""

from __future__ import annotations

import torch

from rl_methods.hil_serl.gripper import Choice, best, choice_of, is_open, opens, possible

OPENED = torch.tensor([True, False])


def test_when_the_gripper_is_open_expect_close_or_keep_and_otherwise_keep_or_open() -> None:
    assert possible(OPENED).tolist() == [[True, True, False], [False, True, True]]


def test_when_the_impossible_choice_is_valued_highest_expect_the_best_of_the_others() -> None:
    values = torch.tensor([[1.0, 2.0, 9.0], [9.0, 1.0, 2.0]])
    assert best(values, OPENED).tolist() == [Choice.KEEP, Choice.OPEN]


def test_when_it_keeps_expect_the_command_that_goes_on() -> None:
    keep = torch.full((2,), int(Choice.KEEP))
    assert opens(keep, OPENED).tolist() == [True, False]
    assert opens(torch.tensor([int(Choice.CLOSE), int(Choice.OPEN)]), OPENED).tolist() == [False, True]


def test_when_something_was_commanded_expect_the_choice_behind_it() -> None:
    opened = torch.tensor([True, True, False, False])
    command = torch.tensor([1.0, 0.1, 0.9, 0.0])
    assert choice_of(command, opened).tolist() == [Choice.KEEP, Choice.CLOSE, Choice.OPEN, Choice.KEEP]


def test_when_a_choice_is_commanded_and_read_back_expect_itself() -> None:
    for opened in (True, False):
        state = torch.tensor([opened])
        for choice in possible(state)[0].nonzero()[:, 0]:
            command = opens(choice[None], state).float()
            assert choice_of(command, state).item() == choice.item()


def test_when_an_object_is_held_expect_a_gripper_that_is_not_open() -> None:
    assert is_open(torch.tensor([0.0, 0.5, 0.95]), 0.8).tolist() == [False, False, True]
