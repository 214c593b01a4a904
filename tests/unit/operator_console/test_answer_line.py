# SPDX-License-Identifier: Apache-2.0
"""The line below commands says what it takes to give one only where that is missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from nicegui import Client, ui
from nicegui.page import page

from operator_console.web.answer_line import AnswerLine


@pytest.fixture
def client() -> Iterator[Client]:
    """A page that no browser looks at."""
    with Client(page("")) as made:
        yield made
    made.delete()


def text_of(client: Client) -> str:
    (label,) = (element for element in client.elements.values() if isinstance(element, ui.label))
    return label.text


def test_when_a_page_takes_control_expect_the_hint_gone_and_back_when_it_gives_it_up(client: Client) -> None:
    line, shown = AnswerLine("answer", "take control to ask"), [text_of(client)]
    for controls in (False, True, False):
        line.refresh(controls=controls)
        shown.append(text_of(client))
    assert shown == ["take control to ask", "take control to ask", "", "take control to ask"]


def test_when_there_is_an_answer_expect_it_to_stay_with_control_and_without(client: Client) -> None:
    line = AnswerLine("answer", "take control to ask")
    line.show("refused: an episode runs")
    shown = []
    for controls in (True, False):
        line.refresh(controls=controls)
        shown.append(text_of(client))
    assert shown == ["refused: an episode runs"] * 2
