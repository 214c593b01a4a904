# SPDX-License-Identifier: Apache-2.0
"""What came of a command is one line, whatever came of it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from operator_console.core.commands import CommandRefusedError
from operator_console.web import command_answer
from operator_console.web.command_answer import CommandAnswer, answer_of


def test_when_a_command_is_carried_out_or_refused_expect_that_in_words():
    done: Future[str] = Future()
    done.set_result("armed")
    refused: Future[str] = Future()
    refused.set_exception(CommandRefusedError("somebody else is in control"))
    assert asyncio.run(answer_of(done)) == CommandAnswer("armed", is_done=True)
    assert asyncio.run(answer_of(refused)) == CommandAnswer("refused: somebody else is in control", is_done=False)


def test_when_nobody_answers_expect_the_time_that_was_waited(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command_answer, "_ANSWER_S", 0.01)
    assert asyncio.run(answer_of(Future())) == CommandAnswer("no answer within 0.01 s", is_done=False)
