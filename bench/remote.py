# SPDX-License-Identifier: Apache-2.0
"""What a policy server on this machine adds to a decision: the same policy in process and behind openpi's protocol."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from figures import Figure, summarise

from fakes.policy_server import write_mapping
from harness.proc import Proc
from harness.published import JOINTS
from harness.until import until
from vla_policy.core.backends import load_backend
from vla_policy.core.backends.remote import RemoteBackend
from vla_policy.core.model_swap import probe_observation
from vla_policy.core.protocol import Backend, Observation
from vla_policy.core.serving import draw_noise

GROUP = "Policy server on this machine, one decision (2 views, N = 1, openpi's protocol)"
_TESTS = Path(__file__).resolve().parents[1] / "tests"
_WORDS = "put the red cube on the blue plate"
_LISTENING = re.compile(r"listening on (\d+)")
_WARM_UP = 10


def run(directory: Path, *, repeats: int) -> list[Figure]:
    """A policy that computes nothing, and the pocket VLA in process and behind a server, in turn."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="whetstone_bench_") as name:
        folder = Path(name)
        for size_px in (96, 224):
            with _behind_a_server(folder, "still", size_px) as server:
                samples = [_decision(server, number) for number in range(repeats + _WARM_UP)][_WARM_UP:]
            figures.append(summarise(GROUP, f"null model behind a server, {size_px} px", "ms", samples))
        local = load_backend("onnx", str(directory), num_threads=1)
        inside, behind, added = [], [], []
        with _behind_a_server(folder, "pocket", local.spec.image_height_px) as server:
            for number in range(repeats + _WARM_UP):
                inside.append(_decision(local, number))
                behind.append(_decision(server, number))
                added.append(behind[-1] - 1e3 * float(str(server.figures()["server_s"])))
    base = summarise(GROUP, "pocket VLA in process", "ms", inside[_WARM_UP:])
    total = summarise(GROUP, "pocket VLA behind a server", "ms", behind[_WARM_UP:], baseline=base)
    return [*figures, base, total, summarise(GROUP, "of this, outside the server's model", "ms", added[_WARM_UP:])]


@contextmanager
def _behind_a_server(folder: Path, policy: str, size_px: int) -> Iterator[RemoteBackend]:
    paths = os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "fakes.policy_server", "0", policy]
    server = Proc(f"{policy}_{size_px}", command, folder=folder, env={**os.environ, "PYTHONPATH": paths})
    try:
        port = until(lambda: _LISTENING.search(server.output.read_text()), 60.0, "a server that listens")[1]
        mapping = write_mapping(folder, size_px=size_px, more=f"instructions: [{_WORDS}]\n")
        backend = RemoteBackend.load(f"ws://localhost:{port}", mapping=str(mapping), joint_names=JOINTS)
        try:
            yield backend
        finally:
            backend.close()
    finally:
        server.kill9()


def _decision(backend: Backend, number: int) -> float:
    seen = probe_observation(backend.spec)
    seen = Observation(seen.images, seen.proprio, _WORDS)
    noise = draw_noise(1, backend.spec, 0, number)
    began_s = time.perf_counter()
    context = backend.prefix(seen)
    backend.features(context)
    backend.denoise(context, noise)
    return 1e3 * (time.perf_counter() - began_s)
