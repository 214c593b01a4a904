# SPDX-License-Identifier: Apache-2.0
"""The denoise graph with products in 8 bits, for a CPU: weights once, activations as they come.

The prefix keeps its float32, so that features are those of the float32 graphs and what was learnt on them goes on.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from vla_policy.core.backends.onnx import GRAPHS
from vla_policy.core.files import read_manifest, write_manifest


def quantise(source: Path, out: Path) -> None:
    """Fills a directory with an exported one's files, `denoise.onnx` quantised.

    Args:
        source: directory with both graphs, sealed.
        out: empty directory.
    """
    # takes half a second to import, and only who quantises needs it
    from onnxruntime.quantization import QuantType, quantize_dynamic

    manifest = read_manifest(source)
    names, kept = manifest.pop("files"), logging.getLogger().level
    for name in names:
        if name != GRAPHS[1]:
            shutil.copyfile(source / name, out / name)
    # it advises, by the root logger, a preprocessing that wins nothing here
    logging.getLogger().setLevel(logging.ERROR)
    try:
        quantize_dynamic(
            str(source / GRAPHS[1]),
            str(out / GRAPHS[1]),
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},  # attention stays in float32
        )
    finally:
        logging.getLogger().setLevel(kept)
    write_manifest(out, names, manifest | {"model_id": f"{manifest['model_id']}-int8"})
