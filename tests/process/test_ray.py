# SPDX-License-Identifier: Apache-2.0
"""Simulators and result runs on a Ray cluster of two nodes, which are processes of this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

# A token of these tests' own: otherwise Ray lets everybody in, or leaves one in the home folder. It is read on import.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"}
import ray
from ray.cluster_utils import Cluster

from fakes.simulated_arm import panda_maker
from harness.until import until
from sim_bridge.core.vector import make_vector
from vla_policy.core.backends.pocket import PocketBackend
from whetstone_cli.jobs import ppo

ROOT = Path(__file__).resolve().parents[2]
ON_RAY = ROOT / "tools" / "rl" / "on_ray.py"
sys.path.append(str(ON_RAY.parent))

import jobs  # noqa: E402
import matrix  # noqa: E402

POCKET = ROOT / "ros2_ws" / "src" / "vla_policy" / "models" / "pocket"
SETTINGS = "ppo: {actor_learning_rate: 1.0e-3, critic_warm_up: 0, batch: 4, epochs: 1, execute_steps: 8}\n"
STORE_BYTES = 100 * 2**20
pytestmark = [pytest.mark.cores(2), pytest.mark.timeout(300)]

CHUNKS = np.zeros((3, 2, 3, 7), dtype=np.float32)
CHUNKS[..., 6] = 1.0
CHUNKS[:, :, :, 0] = np.array([[0.01, -0.01], [0.02, 0.0], [0.0, 0.015]])[..., None]


@pytest.fixture(autouse=True)
def ray_folder(cores: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of the test's own: Ray keeps logs there, and the address that `auto` finds."""
    folder = tempfile.mkdtemp(prefix="ray_", dir="/tmp")  # noqa: S108 - the paths of Ray's sockets must be short
    monkeypatch.setenv("RAY_TMPDIR", folder)
    (Path(folder) / "ray").mkdir()
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(ray_folder: None) -> Iterator[Cluster]:
    """Two nodes of one CPU each."""
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    made = Cluster(initialize_head=True, connect=False, head_node_args=node)
    try:
        made.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        made.wait_for_nodes()
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def assert_same(ours: Any, theirs: Any) -> None:
    """To the bit, types too."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for name in ours:
            assert_same(ours[name], theirs[name])
    elif isinstance(ours, tuple):
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(ours, np.ndarray):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert ours == theirs


def test_when_environments_are_on_two_nodes_expect_what_they_give_without_ray(cluster: Cluster) -> None:
    makers = [panda_maker(execute_steps=3, max_ticks=7).chunks] * 2
    with closing(make_vector(makers, cluster.address)) as spread, closing(make_vector(makers)) as here:
        assert set(spread.nodes) == {node.node_id for node in cluster.list_all_nodes()}
        assert (spread.observation_space, spread.action_space) == (here.observation_space, here.action_space)
        assert spread.metadata["autoreset_mode"] == here.metadata["autoreset_mode"]
        assert_same(spread.reset(seed=[11, 12]), here.reset(seed=[11, 12]))
        assert_same(spread.step(CHUNKS[0]), here.step(CHUNKS[0]))
        some = [{"reset_mask": np.array([False, True])} for _ in range(2)]
        first, second = spread.reset(seed=[0, 13], options=some[0]), here.reset(seed=[0, 13], options=some[1])
        assert_same(first[0], second[0])
        assert_same(spread.step(CHUNKS[1]), here.step(CHUNKS[1]))
        (*_, truncated, info), theirs = spread.step(CHUNKS[2]), here.step(CHUNKS[2])
        assert_same(info, theirs[4])
        assert truncated.tolist() == [True, False] and info["ticks"].tolist() == [1, 3]
        spread.reset(seed=[14, 0], options={"reset_mask": truncated})
    assert not ray.is_initialized()

    with pytest.raises(RuntimeError, match=r"has 2 CPUs, 3 are wanted"):
        make_vector([*makers, makers[0]], cluster.address)
    with pytest.raises(RuntimeError, match=r"environment 1 on node \S+ \(\w{8}\) failed: ValueError: invalid literal"):
        make_vector([makers[0], partial(int, "x")], cluster.address)
    # both CPUs are free again
    make_vector(makers, cluster.address).close()


def test_when_a_node_is_lost_expect_a_sentence_that_names_it(cluster: Cluster) -> None:
    with closing(make_vector([panda_maker(execute_steps=3).chunks] * 2, cluster.address)) as envs:
        envs.reset(seed=[1, 2])
        node = next(node for node in cluster.list_all_nodes() if not node.head)
        lost = envs.nodes.index(node.node_id)
        cluster.remove_node(node)
        with pytest.raises(RuntimeError, match=rf"^environment {lost} on node \S+ \({node.node_id[:8]}\) is lost: .+"):
            envs.step(CHUNKS[0])
    assert not ray.is_initialized()


def test_when_a_command_runs_on_ray_expect_its_output_and_exit_code_and_its_end_with_ours(cluster: Cluster) -> None:
    def on_ray(script: str) -> list[str]:
        return [sys.executable, str(ON_RAY), cluster.address, "--", "sh", "-c", script]

    threads = {**os.environ, "OPENBLAS_NUM_THREADS": "7"}
    words = "echo out; echo $OPENBLAS_NUM_THREADS; pwd; echo err >&2; exit 3"
    failed = subprocess.run(on_ray(words), capture_output=True, text=True, env=threads, cwd=ROOT)
    assert (failed.returncode, failed.stdout) == (3, f"out\n7\n{ROOT}\nerr\n"), failed.stderr
    absent = subprocess.run([*on_ray("")[:4], "/nowhere/python"], capture_output=True, text=True)
    assert absent.returncode == 1 and "could not be run there" in absent.stderr and "Traceback" not in absent.stderr

    running = subprocess.Popen(on_ray("echo $$; exec sleep 1000"), stdout=subprocess.PIPE, text=True)
    remote = int(running.stdout.readline())
    assert Path(f"/proc/{remote}/comm").exists()
    running.terminate()
    assert running.wait(30.0) == 143
    until(lambda: not Path(f"/proc/{remote}").exists(), 30.0, "the command has ended")


def test_when_a_result_run_fails_on_ray_expect_its_log_where_it_lies_without(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = tmp_path / "trainer.py"
    trainer.write_text("import os, sys; print(os.getppid(), os.environ['MKL_NUM_THREADS']); sys.exit(3)")
    plan = matrix.Plan(tmp_path / "results", trainer=trainer, record=tmp_path / "results.csv", ray=cluster.address)
    cell = matrix.MATRIX[0]
    assert jobs.run(plan, [cell], jobs=1) == [cell.name]
    assert "exit code 3" in capsys.readouterr().out
    parent, threads = plan.file(cell).with_suffix(".log").read_text().split()
    assert int(parent) != os.getpid() and threads == "1"


def test_when_ppo_plays_on_ray_expect_the_model_that_it_makes_without(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    models = []
    # as many simulators: products of other sizes are rounded otherwise
    for name, words in (("here", ["--envs=2"]), ("spread", ["--envs=2", "--ray=local"])):
        models.append(tmp_path / name)
        common = [
            f"--model-dir={POCKET}", f"--folder={tmp_path / f'run_{name}'}", f"--out={models[-1]}", "--iterations=1",
            f"--method-file={tmp_path / 'settings.yaml'}", "--episodes=2", "--evaluate-every=0",
            "--evaluation-episodes=1", "--threads=1",
        ]  # fmt: skip
        assert ppo.main([*common, *words]) == 0
    here, spread = (dict(PocketBackend.load(str(model)).model.named_parameters()) for model in models)
    before = dict(PocketBackend.load(str(POCKET)).model.named_parameters())
    assert any(not torch.equal(before[name], here[name]) for name in here)
    assert all(torch.equal(spread[name], here[name]) for name in here)
