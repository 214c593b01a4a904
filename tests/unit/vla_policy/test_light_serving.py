# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

from fakes.policy_server import PolicyServer, still, write_mapping

CODE = """
import sys
from vla_policy.core.backends.registry import load_backend
backend = load_backend("onnx", sys.argv[1], num_threads=1)
backend.warmup()
print(sorted({"torch", "transformers"} & set(sys.modules)))
"""
REMOTE_CODE = """
import sys
from vla_policy.core.backends.remote import RemoteBackend
from vla_policy.core.model_swap import probe_observation, tried
from vla_policy.nodes import vla_node
backend = RemoteBackend.load(sys.argv[1], mapping=sys.argv[2])
tried(backend, probe_observation(backend.spec))
backend.close()
print(sorted({"torch", "transformers", "onnxruntime"} & set(sys.modules)))
"""


def heavy_modules(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_when_exported_graphs_are_served_expect_neither_torch_nor_transformers(pocket_directory, tmp_path):
    from vla_policy.core.backends.onnx_cache import export_pocket

    export_pocket(pocket_directory, tmp_path / "graphs")
    assert heavy_modules(CODE, str(tmp_path / "graphs")) == "[]"


def test_when_a_policy_server_is_asked_expect_no_library_of_models(tmp_path):
    server = PolicyServer(still())
    try:
        assert heavy_modules(REMOTE_CODE, server.address, str(write_mapping(tmp_path))) == "[]"
    finally:
        server.close()
