# SPDX-License-Identifier: Apache-2.0
"""What MkDocs calls while it builds: adds the generated pages, orders the pages, and checks links to the sources."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from site_pages.generate import generated
from site_pages.order import navigation

_LOG = logging.getLogger("mkdocs.hooks.whetstone")
_ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>\.\./[^)#\s]*)(?P<anchor>#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Order the pages by what a reader wants to do."""
    docs = Path(config.docs_dir)
    written = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    twice = written & set(generated())
    if twice:
        _LOG.warning("%s is generated and must not be in the repository", sorted(twice)[0])
    config.nav = navigation(written | set(generated()))
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Replace links to files beside docs/ by their paths, and warn of those that lead nowhere: strict builds fail."""
    docs = Path(config.docs_dir)
    folder = (docs / page.file.src_uri).parent

    def replace(match: re.Match[str]) -> str:
        path = (folder / match["target"]).resolve()
        if docs in path.parents:
            return match[0]
        if not path.exists():
            _LOG.warning("%s links to %s, which does not exist", page.file.src_uri, match["target"])
            return match[0]
        name = path.relative_to(_ROOT).as_posix()
        words = match["text"].strip("`")
        return f"`{name}`" if name.endswith(words) else f"{match['text']} (`{name}`)"

    return _LINK.sub(replace, markdown)
