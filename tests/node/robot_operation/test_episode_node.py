# SPDX-License-Identifier: Apache-2.0
"""episode_node against a cell that is told what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import rclpy
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String
from vla_interfaces.action import RunEpisodes
from vla_interfaces.msg import EpisodeEvent, EpisodeMark, NodeStatus, RecorderSources, Reward
from vla_interfaces.srv import SetInstruction

from fakes.fake_cell import FakeCell, Script
from harness.domains import DomainLock
from robot_operation.nodes.episode_node import EpisodeNode
from whetstone_common.core.enums import EpisodePhase, Outcome
from whetstone_common.core.reason import State
from whetstone_common.nodes import qos

_DEADLINE_S = 15.0
_FAST = {
    "stall_timeout_s": 0.7,
    "silent_after_s": 0.6,
    "recovery_timeout_s": 1.0,
    "startup_timeout_s": 5.0,
    "max_steps": 40,
    "max_consecutive_aborts": 2,
}


class Rig:
    """Node under test, fake cell and a client in one executor of their own context."""

    def __init__(self, script: Script, **parameters: Any) -> None:
        self.context = Context()
        self._domain = DomainLock()
        rclpy.init(context=self.context, domain_id=self._domain.domain_id)
        overrides = [Parameter(name, value=value) for name, value in (_FAST | parameters).items()]
        self.cell = FakeCell(script, context=self.context)
        self.node = EpisodeNode(context=self.context, parameter_overrides=overrides)
        self.user = Node("user", context=self.context)
        self.events: list[EpisodeEvent] = []
        self.rewards: list[Reward] = []
        self.feedback: list[RunEpisodes.Feedback] = []
        self.user.create_subscription(EpisodeEvent, "episode", self.events.append, qos.RECORD)
        self.user.create_subscription(Reward, "reward", self.rewards.append, qos.RECORD)
        self.client = ActionClient(self.user, RunEpisodes, "run_episodes")
        self.executor = SingleThreadedExecutor(context=self.context)
        for node in (self.cell, self.node, self.user):
            self.executor.add_node(node)
        self.node.autostart()
        self.spin_until(self.client.server_is_ready, "action server")

    def spin_until(self, condition: Any, what: str, deadline_s: float = _DEADLINE_S) -> Any:
        """Spin as fast as callbacks come; harness.until pauses between polls, and here a poll is a callback."""
        end_s = time.monotonic() + deadline_s
        while not (value := condition()):
            assert time.monotonic() < end_s, f"not within {deadline_s:g} s: {what}"
            self.executor.spin_once(timeout_sec=0.02)
        return value

    def send(self, **goal: Any) -> Any:
        future = self.client.send_goal_async(
            RunEpisodes.Goal(**goal), feedback_callback=lambda m: self.feedback.append(m.feedback)
        )
        self.spin_until(future.done, "goal answered")
        return future.result()

    def result_of(self, handle: Any) -> RunEpisodes.Result:
        future = handle.get_result_async()
        self.spin_until(future.done, "result")
        return future.result().result

    def run(self, **goal: Any) -> RunEpisodes.Result:
        return self.result_of(self.send(**goal))

    def close(self) -> None:
        self.node.close()
        self.executor.shutdown()
        for node in (self.cell, self.node, self.user):
            node.destroy_node()
        rclpy.shutdown(context=self.context)
        self._domain.release()


@pytest.fixture
def rigs() -> Iterator[Any]:
    made: list[Rig] = []

    def make(script: Script | None = None, **parameters: Any) -> Rig:
        made.append(Rig(script or Script(), **parameters))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def test_when_two_episodes_run_expect_outcomes_steps_seeds_and_events(rigs: Any) -> None:
    rig = rigs(Script(succeed_at={5: 12}))
    result = rig.run(task="pick_place", episodes=2, first_seed=5)
    assert list(result.outcomes) == [Outcome.SUCCEEDED, Outcome.TIMED_OUT]
    assert list(result.steps) == [12, 40]
    assert list(result.seeds) == [5, 6]
    assert result.successes == 1
    assert rig.spin_until(lambda: len(rig.events) == 4, "events")
    assert [event.event for event in rig.events] == [0, 1, 0, 3]
    assert rig.rewards[0].reward == 1.0
    assert rig.rewards[0].terminal
    assert not rig.rewards[1].terminal
    assert rig.cell.calls == ["arm", "sim_reset 5", "resume", "pause", "arm", "sim_reset 6", "resume", "pause"]
    assert [request.not_before.sec for request in rig.cell.resumed_with] == [100, 200]
    assert {f.phase for f in rig.feedback} <= {int(phase) for phase in EpisodePhase}


def test_when_the_goal_has_other_words_expect_the_policy_is_told_those(rigs: Any) -> None:
    rig = rigs(Script(succeed_at={0: 2, 1: 2}))
    rig.run(episodes=1, instruction="stack the blue cube")
    rig.run(episodes=1, first_seed=1)
    assert rig.cell.instructions == ["stack the blue cube", "put the red cube"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (Script(stall_at={0: 5}, succeed_at={1: 3}), "no step"),
        (Script(silent_at={0: 5}, stall_at={0: 6}, succeed_at={1: 3}), "silent"),
        (Script(stop_at={0: 5}, succeed_at={1: 3}), "arm_node is stopped"),
        (Script(restart_at={0: 5}, succeed_at={1: 3}), "restarted"),
    ],
)
def test_when_something_dies_mid_episode_expect_abort_with_reason_and_the_next_goes_on(
    rigs: Any, script: Script, reason: str
) -> None:
    rig = rigs(script)
    handle = rig.send(episodes=2, max_steps=400)
    rig.spin_until(lambda: len(rig.events) == 2, "end of the first episode")
    # A dead arm comes back after a while, as a respawned process does.
    rig.cell.silent = False
    result = rig.result_of(handle)
    assert list(result.outcomes) == [Outcome.ABORTED, Outcome.SUCCEEDED]
    rig.spin_until(lambda: len(rig.events) == 4, "events")
    assert rig.events[1].event == EpisodeEvent.ABORTED
    assert reason in rig.events[1].reason
    assert len(rig.rewards) == 1


def test_when_the_simulator_refuses_expect_the_goal_is_given_up_and_never_a_success(rigs: Any) -> None:
    rig = rigs(Script(refuse_reset=True))
    result = rig.run(episodes=9)
    assert list(result.outcomes) == [Outcome.ABORTED, Outcome.ABORTED]
    assert "told to refuse" in result.message
    assert "resume" not in rig.cell.calls


def test_when_cancelled_mid_episode_expect_the_arm_is_paused_and_the_rest_does_not_run(rigs: Any) -> None:
    rig = rigs()
    handle = rig.send(episodes=3, max_steps=100000)
    rig.spin_until(lambda: rig.cell.tick > 5, "running")
    handle.cancel_goal_async()
    result = rig.result_of(handle)
    assert list(result.outcomes) == [Outcome.ABORTED]
    assert result.message == "cancelled"
    assert rig.cell.calls[-1] == "pause"
    assert rig.node.status[0] is State.READY
    assert list(rig.run(episodes=1, max_steps=5).outcomes) == [Outcome.TIMED_OUT]


def test_when_a_goal_runs_expect_a_second_one_is_refused(rigs: Any) -> None:
    rig = rigs()
    first = rig.send(episodes=1, max_steps=100000)
    rig.spin_until(lambda: rig.cell.tick > 0, "running")
    assert not rig.send(episodes=1).accepted
    first.cancel_goal_async()
    rig.result_of(first)


def other_client(rig: Rig, name: str) -> tuple[Context, Node, ActionClient]:
    """A client in a participant of its own, which can leave the graph."""
    context = Context()
    rclpy.init(context=context, domain_id=rig.context.get_domain_id())
    node = Node(name, context=context)
    return context, node, ActionClient(node, RunEpisodes, "run_episodes")


@pytest.mark.parametrize("named", [True, False])
def test_when_the_client_of_a_goal_dies_expect_the_arm_held_and_the_next_goal_taken(rigs: Any, named: bool) -> None:
    rig = rigs()
    if not named:
        rig.client.destroy()  # it listens to the feedback as well
    context, node, client = other_client(rig, "visitor")
    rig.spin_until(client.server_is_ready, "action server")
    goal = RunEpisodes.Goal(episodes=3, max_steps=100000, client="/visitor" if named else "")
    client.send_goal_async(goal)
    rig.spin_until(lambda: rig.cell.tick > 5, "running")
    rig.spin_until(lambda: rig.node._client._known, "the client is known")  # noqa: SLF001
    client.destroy()
    node.destroy_node()
    context.try_shutdown()
    rig.spin_until(lambda: rig.cell.calls[-1] == "pause", "held")
    rig.spin_until(lambda: rig.node.status[0] is State.READY, "ready for the next goal")
    assert rig.node.counters["goals_without_client"] == 1
    aborted = rig.spin_until(lambda: [e for e in rig.events if e.event == EpisodeEvent.ABORTED], "end of the episode")
    assert aborted[0].reason == "the client of the goal has gone"
    context, node, client = other_client(rig, "next_visitor")
    rig.spin_until(client.server_is_ready, "action server")
    client.send_goal_async(RunEpisodes.Goal(episodes=1, max_steps=100000))
    rig.spin_until(lambda: rig.cell.calls.count("resume") == 2, "the next goal's episode")
    client.destroy()
    node.destroy_node()
    context.try_shutdown()


def test_when_the_operators_device_was_asked_for_and_is_not_there_expect_no_episode(rigs: Any) -> None:
    rig = rigs(operator="keyboard", startup_timeout_s=1.0)
    result = rig.run(episodes=2)
    assert set(result.outcomes) == {Outcome.ABORTED} and "operator_node has not been heard of" in result.message
    assert "resume" not in rig.cell.calls


def test_when_a_needed_node_is_in_error_expect_its_reason_long_before_the_timeout(rigs: Any) -> None:
    rig = rigs(startup_timeout_s=600.0, failure_grace_s=0.2)
    rig.cell.arm_state = NodeStatus.ERROR
    rig.spin_until(lambda: rig.node._health.failed(time.monotonic()), "the error is known")  # noqa: SLF001
    result = rig.run(episodes=1)
    assert "arm_node is in error" in result.message


def test_when_a_goal_asks_for_no_episode_expect_refusal(rigs: Any) -> None:
    assert not rigs().send(episodes=0).accepted


def test_when_the_arm_is_real_expect_it_waits_for_the_reset_mark_and_the_operators_word(rigs: Any) -> None:
    rig = rigs(sim_reset=False, reward_sources=["operator"], instruction="pick it up", auto_reset=False)
    handle = rig.send(episodes=1, max_steps=100000)
    rig.spin_until(lambda: rig.feedback, "feedback")
    assert "resume" not in rig.cell.calls
    rig.cell.mark.publish(EpisodeMark(mark=9))
    rig.spin_until(lambda: rig.node.counters["bad_message"] == 1, "the refused mark")
    rig.cell.mark.publish(EpisodeMark(mark=EpisodeMark.RESET))
    rig.spin_until(lambda: rig.cell.tick > 10, "running")
    rig.cell.mark.publish(EpisodeMark(mark=EpisodeMark.SUCCESS))
    result = rig.result_of(handle)
    assert list(result.outcomes) == [Outcome.SUCCEEDED]
    assert result.steps[0] >= 10
    assert rig.cell.instructions == ["pick it up"]
    assert not [call for call in rig.cell.calls if call.startswith("sim_reset")]


def test_when_the_operator_aborts_before_the_arm_moves_expect_no_episode_and_the_next_turn(rigs: Any) -> None:
    rig = rigs(sim_reset=False, reward_sources=["operator"], instruction="pick it up", auto_reset=False)
    goal = rig.send(episodes=2, max_steps=100000)
    rig.spin_until(lambda: rig.feedback and rig.feedback[-1].episode == 1, "first turn")
    rig.cell.mark.publish(EpisodeMark(mark=EpisodeMark.ABORT))
    rig.spin_until(lambda: rig.feedback[-1].episode == 2, "second turn")
    rig.cell.mark.publish(EpisodeMark(mark=EpisodeMark.RESET))
    rig.spin_until(lambda: rig.feedback[-1].step >= 3, "steps")
    rig.cell.mark.publish(EpisodeMark(mark=EpisodeMark.ABORT))
    result = rig.result_of(goal)
    assert list(result.outcomes) == [Outcome.ABORTED, Outcome.ABORTED]
    assert result.steps[0] == 0 and result.steps[1] >= 3
    assert rig.cell.calls.count("resume") == 1


def test_when_set_instruction_is_called_expect_it_is_published(rigs: Any) -> None:
    rig = rigs()
    client = rig.user.create_client(SetInstruction, "episode_node/set_instruction")
    rig.spin_until(client.service_is_ready, "service")
    for words, accepted in (("  ", False), ("stack the red cube", True)):
        future = client.call_async(SetInstruction.Request(instruction=words))
        rig.spin_until(future.done, "answer")
        assert future.result().success is accepted
    rig.spin_until(lambda: rig.cell.instructions == ["stack the red cube"], "instruction")


def test_when_what_records_is_not_ready_expect_no_episode_to_begin_until_it_is(rigs: Any) -> None:
    rig = rigs(Script(succeed_at={0: 2, 1: 2}), storage_nodes=["recorder_node"], silent_after_s=10.0)
    statuses = rig.user.create_publisher(NodeStatus, "node_status", qos.LATCHED)
    full = NodeStatus(
        node="/recorder_node", state=NodeStatus.HOLDING, reason=NodeStatus.DISK_FULL, detail="0.4 MB free", node_epoch=1
    )
    statuses.publish(full)
    handle = rig.send(episodes=1)
    rig.spin_until(lambda: rig.feedback, "the turn of the episode")
    assert "arm" not in rig.cell.calls
    full.state, full.reason, full.detail = NodeStatus.READY, NodeStatus.NONE, ""
    statuses.publish(full)
    assert list(rig.result_of(handle).outcomes) == [Outcome.SUCCEEDED]
    full.state, full.reason, full.detail = NodeStatus.HOLDING, NodeStatus.DISK_FULL, "0.4 MB free"
    statuses.publish(full)
    rig.spin_until(lambda: rig.node._health.missing(time.monotonic()), "the full disk is known")
    result = rig.run(episodes=1, first_seed=1)
    assert list(result.outcomes) == [Outcome.ABORTED]
    assert "recorder_node is holding, disk full: 0.4 MB free" in result.message
    assert rig.cell.calls.count("resume") == 1


def test_when_a_goal_would_end_above_the_last_seed_expect_refusal_and_the_node_ready(rigs: Any) -> None:
    rig = rigs(Script(succeed_at={2**32 - 1: 2}))
    assert not rig.send(episodes=2, first_seed=2**32 - 1).accepted
    assert list(rig.run(episodes=1, first_seed=2**32 - 1).seeds) == [2**32 - 1]
    assert rig.node.status[0] is State.READY


def test_when_a_node_holds_before_the_start_expect_abort_with_its_reason_and_no_motion(rigs: Any) -> None:
    rig = rigs(hold_timeout_s=0.3)
    rig.cell.hold_idle()
    result = rig.run(episodes=1)
    assert list(result.outcomes) == [Outcome.ABORTED]
    assert "not begun: vla_node is holding, missing stream: no front" in result.message
    assert "resume" not in rig.cell.calls and not rig.rewards


@pytest.mark.row(75)
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (Script(hold_at={0: (1, 999)}), "vla_node held"),
        (Script(hold_at={0: (1, 999)}, succeed_at={0: 38}), "vla_node held"),
        (Script(hold_at={0: (4, 36)}), "of 2.0 s: vla_node held 1."),
    ],
)
def test_when_the_robot_was_blind_for_most_of_an_episode_expect_abort_instead_of_a_verdict(
    rigs: Any, script: Script, reason: str
) -> None:
    rig = rigs(script)
    result = rig.run(episodes=1)
    assert list(result.outcomes) == [Outcome.ABORTED]
    assert reason in result.message and "(holding, missing stream: no front)" in result.message
    rig.spin_until(lambda: len(rig.events) == 2, "events")
    assert rig.events[-1].event == EpisodeEvent.ABORTED and reason in rig.events[-1].reason
    assert not rig.rewards


@pytest.mark.row(75)
def test_when_a_node_holds_for_long_expect_the_episode_ended_at_once(rigs: Any) -> None:
    rig = rigs(Script(hold_at={0: (20, 999999)}), hold_timeout_s=2.0)
    result = rig.run(episodes=1, max_steps=1000)
    assert list(result.outcomes) == [Outcome.ABORTED]
    assert "s in a row: vla_node held" in result.message
    assert 50 <= result.steps[0] <= 200


def test_when_a_node_holds_briefly_expect_the_episode_to_count(rigs: Any) -> None:
    rig = rigs(Script(hold_at={0: (10, 20)}, succeed_at={0: 38}))
    assert list(rig.run(episodes=1).outcomes) == [Outcome.SUCCEEDED]


@pytest.mark.row(75)
def test_when_the_arm_was_paused_by_another_expect_abort(rigs: Any) -> None:
    rig = rigs()
    handle = rig.send(episodes=1, max_steps=300)
    rig.spin_until(lambda: rig.cell.tick > 5, "running")
    # The world goes on without the arm.
    rig.cell.idle = True
    assert "arm_node held" in rig.result_of(handle).message


# ---- words ---------------------------------------------------------------------------------------------------------

_OBSERVED = {"watched_nodes": ["arm_node", "vla_node", "observation_node"]}
_BAD_WORDS = ("   ", "x" * 2000, "put it\ndown", "go \u202e on", "\x1b[2J")


@pytest.mark.row(76)
@pytest.mark.parametrize("words", _BAD_WORDS)
def test_when_the_goal_s_words_cannot_be_said_expect_no_episode_and_why(rigs: Any, words: str) -> None:
    rig = rigs()
    result = rig.run(episodes=1, instruction=words)
    assert result.episodes == 0 and "the instruction" in result.message
    assert not rig.cell.calls and not rig.cell.instructions
    assert rig.node.status[0] is State.READY
    assert list(rig.run(episodes=1, max_steps=3).outcomes) == [Outcome.TIMED_OUT]


@pytest.mark.parametrize("words", _BAD_WORDS)
def test_when_a_parameter_s_words_cannot_be_said_expect_refusal(rigs: Any, words: str) -> None:
    rig = rigs()
    answer = rig.node.set_parameters([Parameter("instruction", value=words)])[0]
    assert not answer.successful and "the instruction" in answer.reason


def test_when_words_have_white_space_around_them_expect_it_gone_everywhere(rigs: Any) -> None:
    rig = rigs(**_OBSERVED)
    assert list(rig.run(episodes=1, max_steps=3, instruction=" stack it \n").outcomes) == [Outcome.TIMED_OUT]
    assert rig.cell.instructions == ["stack it"]
    rig.spin_until(lambda: len(rig.events) == 2, "events")
    assert {event.instruction for event in rig.events} == {"stack it"}


@pytest.mark.row(76)
def test_when_the_observer_goes_on_with_old_words_expect_nothing_to_move_and_both_named(rigs: Any) -> None:
    rig = rigs(Script(deaf=True), **_OBSERVED)
    rig.cell.in_use.publish(String(data="the words before"))
    result = rig.run(episodes=1)
    assert list(result.outcomes) == [Outcome.ABORTED]
    assert "uses the instruction 'the words before' instead of 'put the red cube'" in result.message
    assert "publishers of the topic: /episode_node" in result.message
    assert "resume" not in rig.cell.calls and not rig.rewards


@pytest.mark.row(77)
@pytest.mark.parametrize("words", ["stack it", ""])
def test_when_another_changes_the_words_mid_episode_expect_abort_with_its_name(rigs: Any, words: str) -> None:
    rig = rigs(**_OBSERVED)
    foreign = rig.user.create_publisher(String, "instruction", qos.LATCHED)
    handle = rig.send(episodes=1, max_steps=100000)
    rig.spin_until(lambda: rig.cell.tick > 5, "running")
    foreign.publish(String(data=words))
    result = rig.result_of(handle)
    assert list(result.outcomes) == [Outcome.ABORTED]
    assert f"uses the instruction {words!r} instead of 'put the red cube'" in result.message
    assert "/episode_node, /user" in result.message
    rig.spin_until(lambda: len(rig.events) == 2, "events")
    assert rig.events[-1].event == EpisodeEvent.ABORTED and not rig.rewards


@pytest.mark.row(77)
def test_when_words_are_set_mid_episode_expect_refusal_and_the_episode_goes_on(rigs: Any) -> None:
    rig = rigs(**_OBSERVED)
    client = rig.user.create_client(SetInstruction, "episode_node/set_instruction")
    handle = rig.send(episodes=1, max_steps=300)
    rig.spin_until(lambda: rig.cell.tick > 5, "running")
    answer = client.call_async(SetInstruction.Request(instruction="stack it"))
    rig.spin_until(answer.done, "answer")
    assert not answer.result().success and "cancel" in answer.result().message
    assert list(rig.result_of(handle).outcomes) == [Outcome.TIMED_OUT]
    assert rig.cell.instructions == ["put the red cube"]


def test_when_the_recorder_does_not_hear_the_arm_expect_no_episode_until_it_does(rigs: Any) -> None:
    rig = rigs(Script(succeed_at={0: 3}))
    recorder = rig.user.create_publisher(RecorderSources, "recorder_sources", qos.LATCHED)
    own, arm = rig.node.epoch_ns, rig.cell.epoch

    def say(*heard: tuple[str, int]) -> None:
        recorder.publish(
            RecorderSources(recorder_epoch=3, topics=[t for t, _ in heard], source_epochs=[e for _, e in heard])
        )

    say(("reward", own))
    # It is not heard on every topic, so it says hello there.
    rig.spin_until(lambda: any(event.event == EpisodeEvent.HELLO for event in rig.events), "hello")
    assert {event.epoch for event in rig.events} == {own} and {event.episode for event in rig.events} == {0}
    everyone = [("reward", own), ("episode", own), ("policy_contract", 0), ("executed", arm)]
    said_s = time.monotonic()
    say(*everyone[:3], ("executed", arm + 1))
    handle = rig.send(episodes=1)
    while time.monotonic() - said_s < 0.4:
        rig.executor.spin_once(timeout_sec=0.02)
    assert "resume" not in rig.cell.calls
    say(*everyone)
    assert list(rig.result_of(handle).outcomes) == [Outcome.SUCCEEDED]


def test_when_the_recorder_never_hears_the_arm_expect_an_abort_that_names_topic_and_node(rigs: Any) -> None:
    rig = rigs(Script(succeed_at={0: 3}), startup_timeout_s=1.0, silent_after_s=30.0)
    recorder = rig.user.create_publisher(RecorderSources, "recorder_sources", qos.LATCHED)
    own = rig.node.epoch_ns
    recorder.publish(
        RecorderSources(recorder_epoch=3, topics=["reward", "episode", "policy_contract"], source_epochs=[own, own, 0])
    )
    rig.spin_until(lambda: rig.node._runner._records._recorder._sources, "the recorder's word")
    result = rig.run(episodes=1)
    assert list(result.outcomes) == [Outcome.ABORTED]
    assert "does not receive executed of arm_node" in result.message
