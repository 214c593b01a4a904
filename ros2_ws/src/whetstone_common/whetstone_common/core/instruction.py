# SPDX-License-Identifier: Apache-2.0
"""What counts as an instruction, wherever one is given: goal, service, parameter, topic, command line, dataset."""

from __future__ import annotations

import unicodedata

MAX_CHARACTERS = 1000
_SHOWN = 40
# Control and format characters (line breaks, changes of direction), half characters, private and unassigned ones,
# separators of lines and paragraphs.
_FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_NOT_DECODED = "\ufffd"


class InstructionError(ValueError):
    """Words that nobody may say to a policy; the text says why."""


def check_instruction(words: str) -> str:
    """Words as everybody says and compares them: in Unicode's composed form, without white space around them.

    Raises:
        InstructionError: Empty, longer than MAX_CHARACTERS, or with a character that is none of a text in one line.
    """
    said = unicodedata.normalize("NFC", words).strip()
    if not said:
        raise InstructionError("the instruction is empty; say in one line what to do")
    if len(said) > MAX_CHARACTERS:
        raise InstructionError(
            f"the instruction has {len(said)} characters, at most {MAX_CHARACTERS} are allowed: {shown(said)}"
        )
    for place, character in enumerate(said):
        if character == _NOT_DECODED or unicodedata.category(character) in _FORBIDDEN:
            raise InstructionError(
                f"the instruction has U+{ord(character):04X} at character {place + 1}; "
                f"only the printable characters of one line are allowed: {shown(said)}"
            )
    return said


def shown(words: str) -> str:
    """Words in quotes for a message, cut when they are long; characters that cannot be shown are escaped."""
    cut = words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."
    return ascii(cut) if not cut.isprintable() else repr(cut)
