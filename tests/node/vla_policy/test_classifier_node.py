# SPDX-License-Identifier: Apache-2.0
"""The learned success detector in the graph: a score per observation, and a reason where it cannot look."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from std_msgs.msg import Float32
from vla_interfaces.msg import Observation, PolicyContract

from harness.rig import Rig
from harness.ring import contract, observation
from rl_methods.common.success_classifier import SuccessClassifier, SuccessClassifierConfig, save_classifier
from vla_policy.nodes.classifier_node import ClassifierNode
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import from_contract

CONTRACT = contract()


@pytest.fixture
def file(tmp_path: Path) -> str:
    torch.manual_seed(0)
    path = tmp_path / "success.safetensors"
    save_classifier(path, SuccessClassifier(SuccessClassifierConfig(2, 16, 4, 8)))
    return str(path)


def test_when_observations_come_expect_a_probability_of_each(rig: Rig, file: str) -> None:
    scores = rig.hear("success_score", Float32)
    node = rig.add(ClassifierNode, file=file)
    rig.voice("policy_contract", PolicyContract, qos.LATCHED)(from_contract(CONTRACT))
    rig.until(lambda: node._contracts.bound, what="the contract")
    look = rig.voice("observation", Observation)
    look(observation(1))
    look(observation(2))
    rig.until(lambda: len(scores) == 2, what="two scores")
    assert all(0.0 < score.data < 1.0 for score in scores) and node.counters["scores"] == 2


def test_when_the_policy_has_other_cameras_expect_a_hold_that_says_so(rig: Rig, file: str) -> None:
    node = rig.add(ClassifierNode, file=file)
    other = replace(CONTRACT, cameras=("wrist",))
    rig.voice("policy_contract", PolicyContract, qos.LATCHED)(from_contract(other))
    _, _, detail = rig.until_status(node, State.HOLDING, Reason.CONTRACT_MISMATCH)
    assert detail == "cameras: the classifier looks through 2, the policy has 1"


def test_when_an_observation_has_another_size_expect_a_hold_until_a_good_one_comes(rig: Rig, file: str) -> None:
    node = rig.add(ClassifierNode, file=file)
    rig.voice("policy_contract", PolicyContract, qos.LATCHED)(from_contract(CONTRACT))
    rig.until(lambda: node._contracts.bound, what="the contract")
    look = rig.voice("observation", Observation)
    look(observation(1, size=32))
    rig.until_status(node, State.HOLDING, Reason.BAD_MESSAGE)
    look(observation(2))
    rig.until_status(node, State.READY)


def test_when_there_is_no_such_file_expect_an_error_that_names_it(rig: Rig, tmp_path: Path) -> None:
    node = rig.add(ClassifierNode, file=str(tmp_path / "none.safetensors"), begin=False)
    node.autostart()
    _, reason, detail = rig.until(lambda: node.status if node.status[0] is State.ERROR else None, what="an error")
    assert reason is Reason.BAD_PARAMETER and "none.safetensors" in detail
