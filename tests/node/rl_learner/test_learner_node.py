# SPDX-License-Identifier: Apache-2.0
"""learner_node in process: transitions in, weights out, and what it says when it cannot go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.parameter import Parameter
from vla_interfaces.msg import LearnerStatus, PolicyContract, PolicyWeights, Transition, TransitionAck, WeightsAck
from vla_interfaces.srv import EvaluatePolicy

from experience.core.prior import write_prior
from experience.core.spool.record import MAGIC
from experience.nodes.convert import from_transition
from experience.nodes.transition_node import TransitionNode
from fakes.policy_sets import whole_sets
from fakes.rl_board import curve
from fakes.rl_runs import CONTRACT, HASH, SMALL, SPOOL, episode, store, write_method
from harness.rig import Rig
from rl_learner.core.checkpoint import digest, latest, load
from rl_learner.nodes.learner_node import LearnerNode
from rl_methods.common.weights import PolicySet
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import from_contract


class Desk:
    """The node, a spool that feeds it, and a robot's ears for weights."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig, self.folder = rig, folder
        self.run = folder / "r"
        self.checkpoints = self.run / "checkpoints"
        self.pieces = rig.hear("policy_weights", PolicyWeights, qos.WEIGHTS)
        self.acks = rig.hear("transition_ack", TransitionAck)
        self.statuses = rig.hear("learner_status", LearnerStatus, qos.LATCHED)
        self.agree = rig.voice("policy_contract", PolicyContract, qos.LATCHED)
        self.send = rig.voice("transition", Transition)
        self.method = write_method(folder)

    def start(self, *, contract: Any = CONTRACT, **parameters: Any) -> LearnerNode:
        values = {"directory": str(self.folder), "run": "r", "method_file": str(self.method), "candidates": 2}
        values |= {"capacity": 200, "max_pending_updates": 0, "publish_period_s": 0.05}
        node = self.rig.add(LearnerNode, **(values | parameters))
        if contract is not None:
            self.agree(from_contract(contract))
        return node

    def feed(self, count: int) -> TransitionNode:
        """A transition_node that holds episodes 1..count."""
        store(self.run, [t for n in range(1, count + 1) for t in episode(n)])
        return self.rig.add(TransitionNode, directory=str(self.folder), run="r", window_steps=4, min_free_mb=0.0)

    def tell(self, numbers: range, *, first: int, **changes: Any) -> None:
        """Episodes by topic alone."""
        for seq, made in enumerate([t for n in numbers for t in episode(n)], first):
            self.send(from_transition(replace(made, **changes), "r", SPOOL, seq))

    def sets(self) -> list[PolicySet]:
        """Sets that have come whole, each of which a robot would take."""
        return whole_sets(self.pieces, HASH)

    def wait_status(self, **figures: object) -> LearnerStatus:
        """The first status with these figures."""

        def found() -> list[LearnerStatus]:
            return [s for s in self.statuses if all(getattr(s, name) == figures[name] for name in figures)]

        self.rig.until(found, what=f"{figures}")
        return found()[0]


@pytest.fixture
def desk(rig: Rig, tmp_path: Path) -> Desk:
    return Desk(rig, tmp_path)


def test_when_episodes_are_stored_expect_them_learnt_from_once_and_weights_that_a_robot_takes(desk: Desk) -> None:
    desk.feed(4)
    node = desk.start()
    desk.rig.until(lambda: node.counters["updates"] == 10 + 24, what="all updates")
    assert (node.counters["windows"], node.counters["through"], node.counters["episodes"]) == (12, 12, 4)
    desk.rig.until(lambda: desk.acks and desk.acks[-1].through == 12, what="acknowledged")
    desk.rig.until(lambda: desk.sets() and desk.sets()[-1].manifest.step == 34, what="the last weights")
    versions = [s.manifest.version for s in desk.sets()]
    assert versions[0] == 1 and versions == sorted(set(versions))
    learnt = node._worker.session.learner.policy_weights()
    assert digest(desk.sets()[-1].tensors) == digest(learnt)
    status = desk.wait_status(waits_for=LearnerStatus.DATA, updates=34)
    assert (status.phase, status.finished, status.problem) == (LearnerStatus.ONLINE, False, "")
    assert (status.robot_steps, status.success_rate, status.episodes, status.replay_size) == (48, 0.5, 4, 12)
    assert (status.run, status.method, status.pending_updates) == ("r", "expo", 0)
    assert np.isfinite([status.critic_loss, status.mean_target]).all() and len(status.metrics) > 0
    assert node.status[:2] == (State.READY, Reason.NONE)


def test_when_a_round_says_that_weights_are_bad_expect_the_base_published_and_said(desk: Desk) -> None:
    desk.feed(4)
    node = desk.start()
    desk.rig.until(lambda: node.counters["updates"] == 34)
    node._worker.session.guard.base_successes = node._worker.session.guard.base_episodes = 20
    ask = desk.rig.probe.create_client(EvaluatePolicy, "learner_node/evaluate_policy")
    desk.rig.until(ask.service_is_ready)

    def tell(**request: int) -> EvaluatePolicy.Response:
        answer = ask.call_async(EvaluatePolicy.Request(**request))
        desk.rig.until(answer.done)
        return answer.result()

    assert tell(phase=EvaluatePolicy.Request.BEGIN).success
    desk.wait_status(evaluating=True)
    wrong = tell(phase=EvaluatePolicy.Request.END, successes=9, episodes=8)
    assert (wrong.success, wrong.message) == (False, "9 successes of 8 episodes")
    assert tell(phase=EvaluatePolicy.Request.END, successes=1, episodes=8).success
    desk.wait_status(verdict="withdrawn", evaluations=1)
    desk.rig.until(lambda: desk.sets() and not desk.sets()[-1].tensors, what="a set without weights")
    text = "weights withdrawn, the base plays: 1 of 8 episodes alone, the base 20 of 20"
    desk.wait_status(guard=text)
    desk.rig.until(lambda: node.status == (State.READY, Reason.NONE, text), what="the status")


def test_when_no_weights_are_there_expect_a_round_refused(desk: Desk) -> None:
    node = desk.start()
    refused = node.on_evaluate_policy(EvaluatePolicy.Request(), EvaluatePolicy.Response())
    assert (refused.success, refused.message) == (False, "there are no weights that could be evaluated")


def test_when_it_is_started_again_expect_the_same_learner_its_weights_first_and_newer_versions(desk: Desk) -> None:
    desk.feed(4)
    first = desk.start()
    desk.rig.until(lambda: first.counters["updates"] == 34)
    before = digest(first._worker.session.learner.state())
    first.close()
    published = max(s.manifest.version for s in desk.sets())
    desk.pieces.clear()
    # Nobody says the contract: the run knows what its weights are for.
    second = desk.start(contract=None, learning_rate=0.0)
    desk.rig.until(lambda: desk.sets(), what="restored weights")
    restored = desk.sets()[0]
    assert (restored.manifest.step, restored.manifest.version) == (34, published + 1)
    assert digest(second._worker.session.learner.state()) == before
    desk.rig.until(lambda: second.counters["through"] == 12)
    desk.rig.turn(0.5)
    assert second.counters["updates"] == 34


def test_when_a_transition_is_missing_expect_it_fetched_and_nothing_twice(desk: Desk) -> None:
    desk.feed(3)
    node = desk.start()
    desk.rig.until(lambda: node.counters["through"] == 9)
    desk.tell(range(9, 10), first=30)  # far ahead
    desk.tell(range(1, 2), first=1)  # known
    counted = ("transitions_ahead", "transitions_repeated")
    desk.rig.until(lambda: all(node.counters[name] > 0 for name in counted), what="both told")
    assert (node.counters["through"], node.counters["windows"]) == (9, 9)


def damage_middle(folder: Path, count: int) -> None:
    """Invert bytes of so many neighbouring transitions in the middle of a spool."""
    (file,) = (folder / "transitions").glob("*.wsp")
    data = bytearray(file.read_bytes())
    starts = [i for i in range(len(data)) if data[i : i + 4] == MAGIC]
    for start in starts[5 : 5 + count]:
        data[start + 50 : start + 150] = bytes(255 - b for b in data[start + 50 : start + 150])
    file.write_bytes(data)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_when_stored_transitions_are_damaged_expect_all_others_learnt_from_and_the_loss_said(
    desk: Desk, count: int
) -> None:
    store(desk.run, [t for n in range(1, 5) for t in episode(n)])
    damage_middle(desk.run, count)
    recorder = desk.rig.add(TransitionNode, directory=str(desk.folder), run="r", window_steps=4, min_free_mb=0.0)
    assert recorder.status == (State.READY, Reason.NONE, f"{count} stored records are damaged")
    assert recorder.counters["records_damaged"] == count
    node = desk.start()
    left = 12 - count
    desk.rig.until(lambda: node.counters["windows"] == left, what="all others")
    if count < 7:  # the newest are whole, so it is known what is missing before them
        desk.rig.until(lambda: (node.counters["transitions_lost"], node.counters["through"]) == (count, 12))


def test_when_all_steps_are_used_expect_finished(desk: Desk) -> None:
    desk.feed(4)
    desk.start(max_steps=30)
    assert desk.wait_status(finished=True).updates == 18


def test_when_it_is_frozen_expect_the_newest_weights_and_nothing_learnt(desk: Desk) -> None:
    desk.feed(3)
    node = desk.start()
    desk.rig.until(lambda: node.counters["updates"] == 22)
    node.close()
    desk.rig.turn(0.5)  # what it has published last is on its way
    newest = desk.sets()[-1].manifest.version
    desk.pieces.clear()
    store(desk.run / "more", episode(9))
    node = desk.start(freeze=True)
    desk.rig.until(lambda: desk.sets())
    desk.tell(range(5, 7), first=10)
    desk.rig.turn(0.5)
    assert [s.manifest.version for s in desk.sets()] == [newest + 1]
    assert (node.counters["updates"], node.counters["through"]) == (22, 9)


def test_when_there_is_nothing_to_freeze_expect_refusal(desk: Desk) -> None:
    node = desk.start(freeze=True, contract=None)
    assert node.status[:2] == (State.ERROR, Reason.BAD_PARAMETER) and "no checkpoint" in node.status[2]


def prepared(desk: Desk) -> int:
    """A run with several checkpoints; returns its updates."""
    desk.feed(4)
    node = desk.start(checkpoint_period_s=0.2)
    desk.rig.until(lambda: node.counters["updates"] == 34)
    node.close()
    assert len(list(desk.checkpoints.iterdir())) >= 1
    return 34


def test_when_the_newest_checkpoint_is_broken_expect_the_one_before_and_its_name_in_the_count(desk: Desk) -> None:
    prepared(desk)
    newest = latest(desk.checkpoints)[0]
    (desk.checkpoints / "step-000000099").mkdir()
    node = desk.start(contract=None, freeze=True)
    assert node.counters["checkpoints_skipped"] == 1
    assert digest(
        node._worker.session.learner.state() | {"generator": node._worker.session.learning.generator.get_state()}
    ) == (digest(load(newest).learner))


@pytest.mark.parametrize("freeze", [True, False])
def test_when_a_checkpoint_is_half_written_expect_only_who_learns_to_remove_it(desk: Desk, freeze: bool) -> None:
    prepared(desk)
    partial = desk.checkpoints / ".partial-step-000000100"
    partial.mkdir()
    desk.start(contract=None, freeze=freeze)
    # A frozen learner only reads: another one may be writing there.
    assert partial.exists() is freeze


def test_when_all_checkpoints_are_broken_expect_refusal_and_no_weights(desk: Desk) -> None:
    prepared(desk)
    desk.pieces.clear()
    for folder in desk.checkpoints.iterdir():
        (folder / "manifest.json").unlink()
    node = desk.start()
    assert node.status[:2] == (State.ERROR, Reason.MODEL_FAILURE) and "none of" in node.status[2]
    desk.rig.turn(0.3)
    assert desk.pieces == []


def test_when_torch_has_no_such_device_expect_refusal_that_names_it(desk: Desk) -> None:
    node = desk.start(contract=None, device="cuda:99")
    assert node.status[:2] == (State.ERROR, Reason.BAD_PARAMETER) and "device is 'cuda:99'" in node.status[2]


def test_when_a_device_is_no_name_expect_the_node_refused(desk: Desk) -> None:
    with pytest.raises(ParameterError, match="allowed: cpu, cuda"):
        desk.start(contract=None, device="gpu")


def test_when_the_settings_differ_expect_refusal_by_name_unless_allowed(desk: Desk) -> None:
    prepared(desk)
    write_method(desk.folder, batch=16)
    node = desk.start()
    assert node.status[:2] == (State.ERROR, Reason.BAD_PARAMETER) and "schedule.batch: 8, now 16" in node.status[2]
    node = desk.start(allow_config_change=True)
    assert node.status[0] is State.READY


def test_when_another_policy_is_served_expect_a_hold_that_says_so(desk: Desk) -> None:
    node = desk.start()
    desk.rig.until(lambda: node._worker is not None)
    desk.agree(from_contract(replace(CONTRACT, feature_dim=9)))
    desk.rig.until_status(node, State.HOLDING, Reason.CONTRACT_MISMATCH)
    assert "feature_dim" in node.status[2]
    desk.agree(from_contract(CONTRACT))
    desk.rig.until_status(node, State.READY)


@pytest.mark.parametrize("change", [{"contract_hash": "other"}, {"rewards": np.full(4, np.nan, np.float32)}])
def test_when_a_transition_cannot_be_used_expect_it_outside_the_replay(desk: Desk, change: dict[str, Any]) -> None:
    node = desk.start()
    desk.rig.until(lambda: node._worker is not None)
    desk.tell(range(1, 2), first=1, **change)
    if "contract_hash" in change:
        desk.rig.until_status(node, State.HOLDING, Reason.BAD_MESSAGE)
        assert (node.counters["through"], node.counters["windows"]) == (0, 0)
    else:
        desk.rig.until(lambda: node.counters["windows_refused"] == 3)
        assert (node.counters["through"], node.counters["windows"]) == (3, 0)


def test_when_prior_data_are_of_another_vla_expect_refusal_that_names_both(desk: Desk) -> None:
    write_prior(desk.folder / "before", [episode(1)], "0123456789abcdef", 1)
    node = desk.start(contract=replace(CONTRACT, weights_sha256="fedcba9876543210"), prior=str(desk.folder / "before"))
    desk.rig.until_status(node, State.ERROR, Reason.BAD_PARAMETER)
    assert "weights 0123456789ab, served are fedcba987654" in node.status[2]


def test_when_updates_diverge_expect_a_hold_the_last_good_weights_and_no_new_ones(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.feed(2)
    node = desk.start()
    desk.rig.until(lambda: node.counters["updates"] == 10 and desk.sets())
    session = node._worker.session
    original, before = session.learner.update, digest(session.learner.state())

    def poisoned(batch: Any, *rest: Any, **more: Any) -> Any:
        batch.actions[:] = float("nan")
        return original(batch, *rest, **more)

    monkeypatch.setattr(session.learner, "update", poisoned)
    monkeypatch.setattr(session.learner, "offline_update", poisoned)
    count = len(desk.pieces)
    desk.tell(range(3, 4), first=7)
    desk.rig.until_status(node, State.HOLDING, Reason.NOT_FINITE)
    assert digest(session.learner.state()) == before
    desk.rig.turn(0.3)
    assert len(desk.pieces) == count and node.counters["updates_skipped"] == 3
    desk.rig.until(lambda: node.counters["through"] == 9, what="data are stored all the same")


def test_when_a_robot_refuses_weights_expect_it_counted(desk: Desk) -> None:
    node = desk.start()
    answer = desk.rig.voice("weights_ack", WeightsAck)
    answer(WeightsAck(run="r", version=3, accepted=False, reason="probe: not finite"))
    answer(WeightsAck(run="r", version=2, accepted=True))
    answer(WeightsAck(run="other", version=9, accepted=True))
    desk.wait_status(accepted_version=2)
    assert (node.counters["weights_refused"], node.counters["weights_accepted"]) == (1, 1)


def test_when_it_is_turned_while_it_runs_expect_the_session_to_follow(desk: Desk) -> None:
    node = desk.start()
    desk.rig.until(lambda: node._worker is not None)
    node.set_parameters([Parameter("utd", value=0.25), Parameter("publish_period_s", value=7.0)])
    assert (node._worker.session.utd, node._worker.config.publish_s) == (0.25, 7.0)


def test_when_a_method_file_is_wrong_expect_refusal_that_names_the_key(desk: Desk) -> None:
    desk.method.write_text("expo: {margen: 1}\n", encoding="utf-8")
    node = desk.start(contract=None)
    assert node.status[:2] == (State.ERROR, Reason.BAD_PARAMETER) and "margen" in node.status[2]


def test_when_a_bound_does_not_fit_the_policys_actions_expect_its_name(desk: Desk) -> None:
    write_method(desk.folder, SMALL | {"expo": SMALL["expo"] | {"edit_scale": [0.1] * 4}})
    node = desk.start()
    desk.tell(range(1, 2), first=1)
    desk.rig.until_status(node, State.ERROR, Reason.BAD_PARAMETER)
    assert "edit_scale has 4 entries" in node.status[2]


def test_when_it_learns_expect_curves_that_tensorboard_reads_and_that_go_on_after_a_restart(desk: Desk) -> None:
    write_method(desk.folder, warm_up_updates=60)
    desk.feed(4)
    node = desk.start()
    desk.rig.until(lambda: node.counters["updates"] == 60 + 24, what="all updates")
    node.close()
    board = desk.run / "tensorboard"
    assert list(curve(board / "updates", "critic/loss")) == list(curve(board / "updates", "run/buffer")) == [50]
    assert curve(board / "episodes", "episode/success") == {1: 1.0, 2: 0.0, 3: 1.0, 4: 0.0}
    node = desk.start(contract=None)
    desk.rig.until(lambda: node.counters["through"] == 12)
    desk.tell(range(5, 7), first=13)
    desk.rig.until(lambda: node.counters["updates"] == 60 + 48, what="all updates")
    node.close()
    assert list(curve(board / "updates", "critic/loss")) == [50, 100]
    assert list(curve(board / "episodes", "episode/steps")) == [1, 2, 3, 4, 5, 6]


def test_when_its_curves_cannot_be_written_expect_it_to_learn_all_the_same(desk: Desk) -> None:
    desk.run.mkdir()
    (desk.run / "tensorboard").write_text("a file where a folder should be", encoding="utf-8")
    desk.feed(4)
    node = desk.start()
    desk.rig.until(lambda: node.counters["updates"] == 34, what="all updates")
    assert node.status[0] is State.READY


def test_when_curves_are_switched_off_expect_no_file(desk: Desk) -> None:
    desk.feed(4)
    node = desk.start(tensorboard=False)
    desk.rig.until(lambda: node.counters["updates"] == 34, what="all updates")
    node.close()
    assert list(desk.run.rglob("*tfevents*")) == []
