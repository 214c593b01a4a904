# SPDX-License-Identifier: Apache-2.0
"""tools and its folders hold scripts, not packages: put them on the path."""

import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[3] / "tools"
sys.path[:0] = [str(TOOLS), str(TOOLS / "check"), str(TOOLS / "setup")]
