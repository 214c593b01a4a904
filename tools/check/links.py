# SPDX-License-Identifier: Apache-2.0
"""Links of the pages beside docs/ (README, CONTRIBUTING, model cards) lead to files; those of docs/ the site checks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sources import ROOT, short, tracked

_LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")
_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
_FOREIGN = ("http://", "https://", "mailto:")


def dead_links(path: Path) -> list[str]:
    """Targets of relative links that do not exist."""
    text = _CODE.sub("", path.read_text(encoding="utf-8"))
    targets = [match["target"] for match in _LINK.finditer(text)]
    return [each for each in targets if not each.startswith(_FOREIGN) and not (path.parent / each).exists()]


def main() -> int:
    """Check every page that is not part of the site."""
    pages = [path for path in tracked() if path.suffix == ".md" and ROOT / "docs" not in path.parents]
    faults = [f"{short(path)}: {target} does not exist" for path in pages for target in dead_links(path)]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
