# SPDX-License-Identifier: Apache-2.0
import pytest

from robot_operation.core.health import Health, Report
from whetstone_common.core.reason import Reason, State


def report(state: State, *, seen_s: float = 0.0, epoch_ns: int = 1, reason: Reason = Reason.NONE) -> Report:
    return Report(epoch_ns, state, reason, "", seen_s)


def health() -> Health:
    watched = Health(["arm_node", "vla_node"], silent_after_s=2.0)
    watched.update("/arm_node", report(State.READY))
    watched.update("/cell/vla_node", report(State.READY))
    return watched


def test_when_all_are_ready_expect_nothing_missing_and_no_problem() -> None:
    assert health().missing(1.0) == ""
    assert health().problem(1.0) == ""


def test_when_a_node_never_spoke_expect_it_is_named() -> None:
    assert "vla_node" in Health(["vla_node"], 2.0).missing(0.0)


def test_when_a_node_falls_silent_expect_problem() -> None:
    watched = health()
    watched.update("/arm_node", report(State.RUNNING, seen_s=5.0))
    assert watched.problem(6.0) == "vla_node is silent"


def test_when_a_node_was_restarted_mid_episode_expect_problem() -> None:
    watched = health()
    watched.begin_episode()
    watched.update("/arm_node", report(State.READY, epoch_ns=2))
    assert watched.problem(0.0) == "arm_node was restarted"
    assert watched.missing(0.0) == ""


def test_when_the_arm_stops_expect_problem_but_the_next_episode_may_reset_it() -> None:
    watched = health()
    watched.update("/arm_node", report(State.STOPPED, reason=Reason.POLICY_LOST))
    assert "stopped, policy lost" in watched.problem(0.0)
    assert watched.missing(0.0) == ""


def test_when_the_arm_has_not_heard_of_the_policy_yet_expect_it_waited_for() -> None:
    watched = Health(["arm_node"], silent_after_s=2.0, arm="arm_node")
    watched.update("/arm_node", Report(1, State.READY, Reason.NO_CONTRACT, "", 0.0))
    assert watched.missing(0.0) == "arm_node is ready, no policy contract yet"
    watched.update("/arm_node", Report(1, State.READY, Reason.DISARMED, "", 0.0))
    assert watched.missing(0.0) == ""


def test_when_a_node_is_in_error_expect_both() -> None:
    watched = health()
    watched.update("/vla_node", report(State.ERROR, reason=Reason.MODEL_FAILURE))
    assert "vla_node is in error, model failure" in watched.problem(0.0)
    assert "vla_node is in error, model failure" in watched.missing(0.0)


def test_when_a_node_starts_expect_what_it_does_in_words() -> None:
    watched = health()
    watched.update("/vla_node", Report(1, State.STARTING, Reason.NONE, "loading model (12 s)", 0.0))
    assert watched.missing(0.0) == "vla_node is starting: loading model (12 s)"


def test_when_a_stranger_speaks_expect_it_is_ignored() -> None:
    watched = health()
    watched.update("/other", report(State.ERROR))
    assert watched.problem(0.0) == ""


def twins(*, second: State = State.READY) -> Health:
    watched = health()
    watched.begin_episode()
    watched.update("/arm_node", report(second, epoch_ns=2, seen_s=1.0))
    watched.update("/arm_node", report(State.READY, epoch_ns=1, seen_s=1.5))
    return watched


def test_when_two_processes_say_that_they_are_one_node_expect_two_of_them_and_not_restarted() -> None:
    assert twins().problem(1.5) == twins().missing(1.5) == "two nodes say that they are arm_node: stop one of them"


def test_when_one_of_two_processes_has_gone_expect_the_other_taken_again() -> None:
    watched = twins()
    watched.update("/arm_node", report(State.READY, epoch_ns=1, seen_s=4.0))
    watched.update("/vla_node", report(State.READY, seen_s=4.0))
    assert watched.problem(4.0) == ""


def test_when_a_second_process_only_ends_expect_it_is_no_second_node() -> None:
    assert twins(second=State.FINALIZED).missing(1.5) == ""


def test_when_a_node_fails_expect_it_told_apart_from_one_that_is_not_there_yet() -> None:
    watched = health()
    assert watched.failed(0.0) == ""
    watched.update("/vla_node", report(State.ERROR, reason=Reason.MODEL_FAILURE, seen_s=1.0))
    assert "vla_node is in error, model failure" in watched.failed(1.0)
    assert watched.failed(100.0) == ""


def test_when_storage_is_not_ready_expect_no_episode_to_begin() -> None:
    watched = Health(["arm_node"], 2.0, storage=["recorder_node"])
    watched.update("/arm_node", report(State.READY))
    assert watched.missing(0.0) == "recorder_node has not been heard of"
    for state in (State.HOLDING, State.RUNNING, State.STOPPED):
        watched.update("/recorder_node", report(state, reason=Reason.DISK_FULL))
        assert watched.missing(0.0) == f"recorder_node is {state.name.lower()}, disk full"
    watched.update("/recorder_node", report(State.READY))
    assert watched.missing(0.0) == ""


def test_when_storage_records_expect_the_running_episode_to_go_on_and_its_death_to_end_it() -> None:
    watched = Health([], 2.0, storage=["recorder_node"])
    watched.update("/recorder_node", report(State.RUNNING))
    assert watched.problem(0.0) == ""
    assert watched.problem(9.0) == "recorder_node is silent"


def test_when_a_node_holds_expect_it_may_not_begin_and_counts_as_held() -> None:
    watched = health()
    watched.update("/vla_node", report(State.HOLDING, reason=Reason.MISSING_STREAM))
    assert watched.missing(0.0) == watched.problem(0.0) == ""
    assert watched.unready() == "vla_node is holding, missing stream"
    assert watched.holding() == {"vla_node": "holding, missing stream"}


@pytest.mark.parametrize(
    ("state", "reason", "held"),
    [
        (State.RUNNING, Reason.NONE, False),
        (State.RUNNING, Reason.TAKEOVER, False),
        (State.READY, Reason.EPISODE_END, False),
        (State.READY, Reason.NONE, True),
        (State.READY, Reason.DISARMED, True),
        (State.HOLDING, Reason.UNDERRUN, True),
        (State.STARTING, Reason.NONE, True),
    ],
)
def test_when_an_episode_runs_expect_the_arm_to_run(state: State, reason: Reason, held: bool) -> None:
    watched = Health(["arm_node", "vla_node"], 2.0, arm="arm_node")
    watched.update("/vla_node", report(State.READY))
    watched.update("/arm_node", report(State.READY))
    watched.begin_episode()
    assert not watched.holding()
    watched.update("/arm_node", report(State.RUNNING))
    watched.update("/arm_node", report(state, reason=reason))
    assert list(watched.holding()) == (["arm_node"] if held else [])
