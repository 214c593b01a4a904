# SPDX-License-Identifier: Apache-2.0
"""Another model while vla_node serves: swapped between two requests, refused by name, rolled back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from vla_interfaces.msg import Observation, PolicyContract, Proposal
from vla_interfaces.srv import LoadModel

from fakes.toy_models import other_expert, other_eyes, other_statistics, toy_model
from harness.rig import Rig
from harness.ring import observation
from vla_policy.core.serving import weights_sha256
from vla_policy.nodes.vla_node import VlaNode
from whetstone_common.core.reason import State
from whetstone_common.nodes import qos

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_model(tmp_path_factory.mktemp("toy"))


class Loader:
    """A vla_node that serves a tiny VLA, and whoever wants it to serve another."""

    def __init__(self, rig: Rig, model: Path) -> None:
        self.rig = rig
        self.node = rig.add(VlaNode, backend="pocket", model_dir=str(model))
        self.proposals = rig.hear("proposal", Proposal)
        self.contracts = rig.hear("policy_contract", PolicyContract, qos.LATCHED)
        self.client = rig.probe.create_client(LoadModel, "vla_node/load_model")
        self.see = rig.voice("observation", Observation)
        rig.until(self.client.service_is_ready, what="the service")

    def ask(self, directory: str, sha256: str) -> LoadModel.Response:
        future = self.client.call_async(LoadModel.Request(directory=directory, sha256=sha256))
        self.rig.until(future.done, what="an answer")
        return future.result()

    def load(self, folder: Path, sha256: str | None = None) -> LoadModel.Response:
        """Ask until it serves or is refused."""
        digest = weights_sha256(folder) if sha256 is None else sha256
        answers: list[LoadModel.Response] = []

        def is_over() -> bool:
            answers.append(self.ask(str(folder), digest))
            return answers[-1].state != LoadModel.Response.LOADING

        self.rig.until(is_over, 60.0, what="the model")
        return answers[-1]

    def propose(self, number: int) -> Proposal:
        before = len(self.proposals)
        seen = observation(number, size=24)
        seen.images = observation(1, size=24).images  # the same pictures each time
        self.see(seen)
        self.rig.until(lambda: len(self.proposals) > before, what=f"proposal {number}; {self.node.status}")
        return self.proposals[-1]


def test_when_another_expert_comes_expect_it_served_under_the_same_contract_and_the_old_one_after_going_back(
    rig: Rig, model: Path, tmp_path: Path
) -> None:
    loader = Loader(rig, model)
    old = loader.propose(1)
    new = other_expert(model, tmp_path / "new")
    answer = loader.load(new)
    assert (answer.state, answer.sha256) == (LoadModel.Response.SERVING, weights_sha256(new)), answer.message
    played = loader.propose(2)
    assert played.contract_hash == old.contract_hash and list(played.features) == pytest.approx(list(old.features))
    assert list(played.chunks) != list(old.chunks)
    rig.until(lambda: loader.contracts[-1].weights_sha256 == weights_sha256(new), what="the new weights' hash")
    back = loader.ask("", "")
    assert (back.state, back.sha256) == (LoadModel.Response.SERVING, weights_sha256(model))
    assert loader.node.counters["models_swapped"] == 2 and loader.node.status[0] is State.READY


@pytest.mark.parametrize(
    ("change", "named"), [(other_statistics, "action_scale"), (other_eyes, "features: those of one observation differ")]
)
def test_when_the_model_means_other_things_expect_it_refused_by_name_and_the_old_one_serving(
    rig: Rig, model: Path, tmp_path: Path, change: Callable[[Path, Path], Path], named: str
) -> None:
    loader = Loader(rig, model)
    answer = loader.load(change(model, tmp_path / "new"))
    assert not answer.success and named in answer.message
    assert answer.sha256 == weights_sha256(model) and loader.propose(1).n == 1
    assert loader.node.counters["models_refused"] == 1


def test_when_the_directory_is_not_what_was_meant_expect_it_refused(rig: Rig, model: Path, tmp_path: Path) -> None:
    loader = Loader(rig, model)
    new = other_expert(model, tmp_path / "new")
    assert "asked for were 0000" in loader.load(new, "0" * 64).message
    manifest = json.loads((new / "manifest.json").read_text())
    (new / "manifest.json").write_text(json.dumps(manifest | {"files": {**manifest["files"], "vocab.json": "0" * 64}}))
    assert "SHA-256" in loader.load(new).message
    (new / "manifest.json").unlink()
    assert "not complete" in loader.load(new).message
    assert "before" in loader.ask("", "").message
    assert loader.propose(1).n == 1


def test_when_the_model_is_fake_expect_no_other_one(rig: Rig, model: Path) -> None:
    rig.add(VlaNode, backend="fake")
    client = rig.probe.create_client(LoadModel, "vla_node/load_model")
    rig.until(client.service_is_ready, what="the service")
    answers: list[LoadModel.Response] = []

    def is_refused() -> bool:
        future = client.call_async(LoadModel.Request(directory=str(model), sha256="0"))
        rig.until(future.done, what="an answer")
        answers.append(future.result())
        return answers[-1].state == LoadModel.Response.REFUSED

    rig.until(is_refused, what="the refusal")
    assert "fake" in answers[-1].message
