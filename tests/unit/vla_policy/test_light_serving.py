# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

CODE = """
import sys
from vla_policy.core.backends.registry import load_backend
backend = load_backend("onnx", sys.argv[1], num_threads=1)
backend.warmup()
print(sorted({"torch", "transformers"} & set(sys.modules)))
"""


def test_when_exported_graphs_are_served_expect_neither_torch_nor_transformers(pocket_directory, tmp_path):
    from vla_policy.core.backends.onnx_cache import export_pocket

    export_pocket(pocket_directory, tmp_path / "graphs")
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "graphs")], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
