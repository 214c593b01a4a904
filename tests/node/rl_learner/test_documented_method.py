# SPDX-License-Identifier: Apache-2.0
"""The method of docs/tutorials/add-a-method.md through the nodes: learner_node trains it, steering_node plays it."""

from pathlib import Path

import pytest
from vla_interfaces.msg import PolicyContract

from experience.nodes.transition_node import TransitionNode
from fakes.documented_method import register
from fakes.rl_episodes import CONTRACT
from fakes.rl_runs import episode, store
from harness.rig import Rig
from rl_learner.nodes.learner_node import LearnerNode
from rl_methods.registry import settings_file
from vla_policy.nodes.steering_node import SteeringNode
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import from_contract


def test_when_the_documented_method_is_named_expect_it_trained_and_its_weights_played(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(tmp_path, monkeypatch)
    file = tmp_path / "settings.yaml"
    here = "discount: 0.9, execute_steps: 4, base_episodes: 2"  # of the made-up episodes
    file.write_text(settings_file("nudge").read_text().replace("base_episodes: 4", here), encoding="utf-8")
    store(tmp_path / "r", [made for number in range(1, 5) for made in episode(number)])
    rig.add(TransitionNode, directory=str(tmp_path), run="r", window_steps=4, min_free_mb=0.0)
    steering = rig.add(SteeringNode, method="nudge", n_candidates=2)
    learner = rig.add(
        LearnerNode, directory=str(tmp_path), run="r", method="nudge", method_file=str(file), candidates=2,
        publish_period_s=0.05, capacity=200,
    )  # fmt: skip
    rig.voice("policy_contract", PolicyContract, qos.LATCHED)(from_contract(CONTRACT))
    rig.until(lambda: learner.counters["updates"] > 10, what="updates")
    rig.until(lambda: steering.counters["weights_accepted"] > 0, what="weights that are played")
    assert "nudge: version" in steering.status[2]
