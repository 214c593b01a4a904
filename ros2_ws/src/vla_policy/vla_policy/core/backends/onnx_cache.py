# SPDX-License-Identifier: Apache-2.0
"""The ONNX forms of a model directory, float32 and int8, made on first use and kept by the hash of its manifest."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from vla_policy.core.backends.onnx import GRAPHS
from vla_policy.core.backends.onnx_int8 import quantise
from vla_policy.core.files import MANIFEST, read_manifest, sha256_of

LAYOUT = 4  # raised when the exported graphs change


def cache_root() -> Path:
    """Where exported models are kept: $XDG_CACHE_HOME/whetstone/onnx, ~/.cache by default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whetstone" / "onnx"


def export_pocket(directory: Path, out: Path) -> None:
    """Writes the graphs of a pocket directory, with its own number of Euler steps."""
    from vla_policy.core.backends.onnx_export import export_onnx
    from vla_policy.core.backends.pocket import PocketBackend, load_pocket

    parts = load_pocket(directory)
    backend = PocketBackend(parts)
    export_onnx(parts, backend.spec, directory, out, num_steps=backend.num_steps)


def exported(
    directory: Path, root: Path | None = None, *, int8: bool = False, on_export: Callable[[], None] = lambda: None
) -> Path:
    """The directory itself when it holds the graphs, else the exported form of a pocket directory.

    Args:
        directory: exported or pocket directory.
        root: folder of the cache.
        int8: the form whose denoise graph has products in 8 bits.
        on_export: called before an export, which takes seconds to minutes.

    Raises:
        CheckpointError: it is neither, or a file of it was altered.
    """
    root = cache_root() if root is None else root
    if not all(name in read_manifest(directory)["files"] for name in GRAPHS):
        directory = _kept(directory, root, "", export_pocket, on_export)
    return _kept(directory, root, "-int8", quantise, on_export) if int8 else directory


def _kept(
    source: Path, root: Path, form: str, make: Callable[[Path, Path], None], on_export: Callable[[], None]
) -> Path:
    kept = root / f"{LAYOUT}-{sha256_of(source / MANIFEST)[:32]}{form}"
    if (kept / MANIFEST).is_file():
        return kept
    on_export()
    root.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="partial-", dir=root))
    try:
        make(source, fresh)
        with contextlib.suppress(OSError):  # another process was faster
            fresh.rename(kept)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return kept
