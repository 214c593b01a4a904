# SPDX-License-Identifier: Apache-2.0
"""Pages that are made from the code hold all of it, and a link that leads nowhere is found."""

from __future__ import annotations

import logging
import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest

from rl_methods.registry import METHODS
from whetstone_common.core.parameters import ParameterSchema
from whetstone_common.core.reason import Reason
from whetstone_common.core.remedies import REMEDIES

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    from site_pages.generate import generated

    return generated()


def test_when_a_reason_exists_expect_a_cause_and_a_cure_in_sentences(pages) -> None:
    assert set(REMEDIES) == set(Reason)
    for reason, remedy in REMEDIES.items():
        for text in (remedy.cause, remedy.cure):
            assert len(text) > 10 and text.endswith("."), f"{reason.name}: {text!r}"
            assert text in pages["reference/reasons.md"] or reason is Reason.NONE


def test_when_a_node_has_parameters_expect_each_on_its_page(pages) -> None:
    from site_pages.parameters import COMMON, schema_files

    assert len(schema_files()) >= 9
    for path in schema_files():
        page = pages[f"reference/parameters/{path.name.removesuffix('_params.yaml')}.md"]
        for spec in ParameterSchema.load(path, include=COMMON).specs.values():
            (row,) = [line for line in page.splitlines() if line.startswith(f"| `{spec.name}` |")]
            assert row.count(" | ") == 6, "a bar in the text would shift the columns"


def test_when_interfaces_exist_expect_every_field_of_every_file(pages) -> None:
    from site_pages.interfaces import PACKAGE, read

    for kind, page in (("msg", "messages"), ("srv", "services"), ("action", "actions")):
        text = pages[f"reference/interfaces/{page}.md"]
        for path in (PACKAGE / kind).iterdir():
            assert f"## {path.stem}\n" in text
            for part in read(path):
                for name, *_ in part.fields + part.constants:
                    assert name in text.split(f"## {path.stem}\n")[1].split("\n## ")[0]


def test_when_a_field_has_a_default_expect_it_told(pages) -> None:
    assert "Default: `true`." in pages["reference/interfaces/messages.md"]


def test_when_an_interface_cannot_be_read_expect_file_and_line(tmp_path: Path) -> None:
    from site_pages.interfaces import read

    (tmp_path / "Bad.msg").write_text("# fine\nuint8 value of no kind\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"Bad\.msg:2"):
        read(tmp_path / "Bad.msg")


def test_when_commands_exist_expect_every_option_that_is_not_hidden(pages) -> None:
    from site_pages.commands import commands

    page = pages["reference/command-line.md"]
    found = dict(commands())
    assert {"whetstone eval", "whetstone train", "whetstone param set"} <= set(found)
    for name, command in found.items():
        section = page.split(f"## {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            assert parameter.hidden or parameter.opts[0] in section
    assert "--other-words" not in page


def test_when_methods_exist_expect_each_with_its_settings(pages) -> None:
    page = pages["reference/methods.md"]
    assert all(f"## {name} {{" in page for name in METHODS)
    assert "`expo.edit_scale`" in page


def test_when_pages_are_ordered_expect_all_of_them_once() -> None:
    from site_pages.order import navigation

    pages = {"index.md", "how-to/b.md", "how-to/sharpen-a-policy.md", "reference/parameters/arm_node.md"}
    listed = str(navigation(pages))
    assert all(listed.count(page) == 1 for page in pages)
    assert listed.index("sharpen-a-policy") < listed.index("how-to/b.md")
    with pytest.raises(ValueError, match="no section"):
        navigation({"elsewhere/page.md"})


def test_when_a_page_links_to_a_source_that_is_gone_expect_a_warning(caplog) -> None:
    from site_pages.hook import on_page_markdown

    page = SimpleNamespace(file=SimpleNamespace(src_uri="how-to/page.md"))
    config = SimpleNamespace(docs_dir=str(DOCS))
    text = "[m](../../Makefile) [here](../index.md) [gone](../../no/such.py)"
    with caplog.at_level(logging.WARNING):
        made = on_page_markdown(text, page=page, config=config, files=None)
    assert made.startswith("m (`Makefile`) [here](../index.md)")
    assert [record.args[1] for record in caplog.records] == ["../../no/such.py"]


def test_when_a_readme_links_to_a_file_that_is_gone_expect_it_named(tmp_path: Path) -> None:
    from links import dead_links

    page = tmp_path / "README.md"
    page.write_text("[a](README.md) [b](gone.md#part) `[c](code.md)` [d](https://example.org)", encoding="utf-8")
    assert dead_links(page) == ["gone.md"]


def command_lines() -> list[tuple[str, str]]:
    """Every line of a fenced block that calls `whetstone`, with the page it stands on."""
    found = []
    pages = [ROOT / "README.md", *DOCS.rglob("*.md"), *(ROOT / "ros2_ws/src").glob("*/models/*/README.md")]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^ *```(?:bash|console|)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.strip().removeprefix("$ ").removeprefix("until ").partition(" #")[0].partition(";")[0]
                if words.startswith("whetstone ") and "..." not in words:
                    found.append((str(page.relative_to(ROOT)), words.strip()))
    return found


def test_when_a_page_calls_a_command_expect_its_arguments_to_be_known() -> None:
    from site_pages.commands import commands

    parsers = dict(commands())
    known = {
        str(each.get("name"))
        for each in ElementTree.parse(ROOT / "launch" / "whetstone.launch.xml").getroot().findall("arg")
    }
    assert len(command_lines()) > 40
    for page, line in command_lines():
        words = shlex.split(line)
        name = " ".join(words[:3]) if " ".join(words[:3]) in parsers else " ".join(words[:2])
        assert name in parsers, f"{page}: {line}"
        context = parsers[name].make_context(name, words[len(name.split()) :])
        launch = {word.partition(":=")[0] for word in context.params.get("arguments") or () if ":=" in word}
        assert launch <= known, f"{page}: {line}"
