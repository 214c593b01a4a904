# SPDX-License-Identifier: Apache-2.0
"""Refuse what looks like a secret, and files too large for git, in what is tracked."""

from __future__ import annotations

import re
import sys

from sources import short, tracked

PATTERNS = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z ]+ )?PRIVATE KEY-----"),
    "AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{50,}\b"),
    "Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}\b"),
    "Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}\b"),
    "API key": re.compile(r"\bsk-[A-Za-z0-9_-]{32,}\b|\bAIza[0-9A-Za-z_-]{35}\b"),
    "password in an address": re.compile(r"[a-z]+://[^/\s:@{}$]+:[^/\s:@{}$]{3,}@"),
    "assigned secret": re.compile(
        r"(?i)\b(?:api_?key|secret|passwd|password|access_token)\b\s*[:=]\s*[\"'][A-Za-z0-9+/_\-]{16,}[\"']"
    ),
}
# `= pragma: allow secret` on a line is the reviewed exception
ALLOW = "pragma: allow secret"
SKIP_SUFFIXES = {".lock", ".safetensors", ".onnx", ".gif", ".png", ".stl", ".obj", ".mcap"}
MAX_BYTES = 32 * 1024 * 1024


def faults_of_text(text: str) -> list[tuple[int, str]]:
    """Return line number and kind of everything that looks like a secret."""
    return [
        (number, kind)
        for number, line in enumerate(text.splitlines(), start=1)
        if ALLOW not in line
        for kind, pattern in PATTERNS.items()
        if pattern.search(line)
    ]


def main() -> int:
    """Scan every tracked text file."""
    faults = []
    for path in tracked():
        if path.stat().st_size > MAX_BYTES:
            faults.append(f"{short(path)}: {path.stat().st_size} bytes, the limit is {MAX_BYTES}")
        if path.suffix in SKIP_SUFFIXES:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        faults += [f"{short(path)}:{line}: looks like a {kind}" for line, kind in faults_of_text(text)]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
