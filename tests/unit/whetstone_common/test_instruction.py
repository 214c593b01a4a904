# SPDX-License-Identifier: Apache-2.0
import pytest

from whetstone_common.core.instruction import MAX_CHARACTERS, InstructionError, check_instruction, shown


@pytest.mark.parametrize(
    "words",
    ["go", "put the red cube on the blue plate", "поставь красный куб", "put the 🟥 cube 日本", "x" * MAX_CHARACTERS],
)
def test_when_words_are_one_line_of_text_expect_them_unchanged(words: str) -> None:
    assert check_instruction(words) == words


@pytest.mark.parametrize("words", [" go", "go \n", "\t go\r\n"])
def test_when_white_space_surrounds_the_words_expect_it_gone(words: str) -> None:
    assert check_instruction(words) == "go"


def test_when_the_same_words_are_written_in_two_ways_expect_them_equal() -> None:
    assert check_instruction("cafe\u0301") == check_instruction("café")


@pytest.mark.parametrize("words", ["", "   ", "\n\n", "\t", "\u00a0"])
def test_when_there_are_no_words_expect_refusal(words: str) -> None:
    with pytest.raises(InstructionError, match="is empty"):
        check_instruction(words)


@pytest.mark.parametrize("length", [MAX_CHARACTERS + 1, 2000, 100_000])
def test_when_there_are_too_many_characters_expect_both_numbers_and_not_the_text(length: int) -> None:
    with pytest.raises(InstructionError, match=f"has {length} characters, at most {MAX_CHARACTERS}") as refused:
        check_instruction("x" * length)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\x00", "U\\+0000"), ("\n", "U\\+000A"), ("\x1b", "U\\+001B"), ("\x7f", "U\\+007F"), ("\u202e", "U\\+202E"),
        ("\u200b", "U\\+200B"), ("\ufeff", "U\\+FEFF"), ("\ud800", "U\\+D800"), ("\ue000", "U\\+E000"),
        ("\u2028", "U\\+2028"), ("\ufffd", "U\\+FFFD"), ("\U0010ffff", "U\\+10FFFF"),
    ],
)  # fmt: skip
def test_when_a_character_is_no_text_expect_its_number_and_place(character: str, name: str) -> None:
    with pytest.raises(InstructionError, match=f"{name} at character 3") as refused:
        check_instruction(f"go{character}on")
    assert str(refused.value).isprintable()


def test_when_words_are_shown_expect_them_short_and_printable() -> None:
    assert shown("go") == "'go'"
    assert shown("x" * 99) == repr("x" * 40 + "...")
    assert shown("a\u202eb") == "'a\\u202eb'"
