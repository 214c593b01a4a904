# SPDX-License-Identifier: Apache-2.0
"""All pages that are made from the code; nothing of them is in the repository."""

from __future__ import annotations

from functools import cache

from site_pages import commands, interfaces, launch_files, methods, parameters, reasons

GENERATORS = (parameters, interfaces, commands, launch_files, reasons, methods)


@cache
def generated() -> dict[str, str]:
    """Markdown of each page by its path below docs/."""
    return {path: text for generator in GENERATORS for path, text in generator.pages().items()}
