# SPDX-License-Identifier: Apache-2.0
"""transition_node in process: from messages to the spool, and from the spool to a learner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vla_interfaces.msg import Decision, EpisodeEvent, Executed, PolicyContract, Reward, Transition, TransitionAck
from vla_interfaces.srv import FetchTransitions

from experience.core.codec import decode
from experience.core.records import EpisodeEventKind
from experience.core.spool import RecordKind, read_all
from experience.nodes import convert
from experience.nodes.transition_node import TransitionNode
from fakes.rl_episodes import CONTRACT, A, C, H, plain_episode
from fakes.rl_stream import message
from harness.rig import Rig
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import from_contract

KINDS = {"decision": Decision, "executed": Executed, "reward": Reward, "episode": EpisodeEvent}


class Bench:
    """The node, a robot that speaks, and a learner's ears."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig, self.folder = rig, folder
        self.voices = {topic: rig.voice(topic, kind) for topic, kind in KINDS.items()}
        self.agree = rig.voice("policy_contract", PolicyContract, qos.LATCHED)
        self.acknowledge = rig.voice("transition_ack", TransitionAck)

    def start(self, **parameters: Any) -> TransitionNode:
        values = {"directory": str(self.folder), "run": "r", "window_steps": C, "min_free_mb": 0.0}
        values |= {"pace": "lockstep", "episode_grace_s": 20.0}
        self.node = self.rig.add(TransitionNode, **(values | parameters))
        self.agree(from_contract(CONTRACT))
        return self.node

    def say(self, records: Iterable[Any]) -> None:
        for record in records:
            topic, msg = message(record)
            self.voices[topic](msg)

    def stored(self) -> list[Any]:
        """Transitions on the disk."""
        records = read_all(self.folder / "r" / "transitions")
        return [decode(r.payload) for r in records if r.kind is RecordKind.DATA]

    def wait_stored(self, count: int) -> None:
        self.rig.until(lambda: self.node.counters["transitions"] >= count, what=f"{count} transitions are stored")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    rig = Rig()
    yield Bench(rig, tmp_path)
    rig.close()


def test_when_an_episode_is_played_expect_it_stored_then_published_until_acknowledged(bench: Bench) -> None:
    node = bench.start(resend_s=0.3)
    bench.say(plain_episode(10))
    bench.wait_stored(3)
    heard = bench.rig.hear("transition", Transition)
    # Nobody acknowledges: it comes again.
    bench.rig.until(lambda: [m.seq for m in heard][:6] == [1, 2, 3, 1, 2, 3], what="sent again")
    first = convert.to_transition(heard[0])
    assert (first.candidates.shape, first.actions.shape, first.next_noise.shape) == ((2, H, A), (H, A), (2, H, A))
    assert np.array_equal(first.actions, bench.stored()[0].actions)
    assert (heard[2].mask, heard[2].next_n, heard[2].steps, heard[2].run) == (0.0, 0, 2, "r")
    bench.acknowledge(TransitionAck(run="r", spool=heard[0].spool, learner_epoch=5, through=3))
    bench.rig.until(lambda: node.counters["acknowledged"] == 3, what="acknowledged")
    before = len(heard)
    bench.rig.turn(1.0)
    assert len(heard) <= before + 3
    # What an older learner said arrives late.
    bench.acknowledge(TransitionAck(run="r", spool=heard[0].spool, learner_epoch=4, through=1))
    bench.rig.until(lambda: node.counters["acks_late"] == 1, what="late ack")
    assert node.counters["acknowledged"] == 3


def test_when_a_learner_comes_late_expect_all_pages_by_service(bench: Bench) -> None:
    node = bench.start(page_count=4)
    for episode in (1, 2, 3):
        bench.say(plain_episode(10, episode=episode))
    bench.wait_stored(9)
    client = bench.rig.probe.create_client(FetchTransitions, "transition_node/fetch_transitions")
    bench.rig.until(client.service_is_ready)
    got: list[int] = []
    while True:
        future = client.call_async(FetchTransitions.Request(run="r", after=got[-1] if got else 0))
        bench.rig.until(future.done)
        page = future.result()
        assert page.success and (page.first, page.last) == (1, 9)
        if not page.transitions:
            break
        assert len(page.transitions) <= 4
        got += [t.seq for t in page.transitions]
    assert got == list(range(1, 10))
    future = client.call_async(FetchTransitions.Request(run="other"))
    bench.rig.until(future.done)
    assert not future.result().success and "other" in future.result().message
    assert node.status[0] is State.READY


def test_when_the_spool_is_full_expect_a_reason_and_room_after_acknowledgement(bench: Bench) -> None:
    node = bench.start(max_spool_mb=0.1, segment_mb=0.01, keep_acknowledged=False)
    episode = 0
    while node.status[0] is State.READY and episode < 60:
        episode += 1
        bench.say(plain_episode(40, episode=episode))
        bench.rig.until(lambda e=episode: node.counters["episodes"] == e)
        bench.rig.turn(0.15)
    assert node.status[:2] == (State.HOLDING, Reason.SPOOL_FULL)
    assert "bound" in node.status[2] and node.counters["episodes_without_room"] == 1
    stored = len(bench.stored())
    assert stored == 10 * (episode - 1)
    heard = bench.rig.hear("transition", Transition)
    bench.rig.until(lambda: heard)
    bench.acknowledge(TransitionAck(run="r", spool=heard[0].spool, learner_epoch=5, through=stored))
    bench.rig.until_status(node, State.READY)
    bench.say(plain_episode(40, episode=episode + 1))
    bench.rig.until(lambda: node.counters["transitions"] == stored + 10)


def test_when_the_disk_is_nearly_full_expect_a_warning_before_any_episode_needs_it(bench: Bench) -> None:
    node = bench.start(min_free_mb=1e6)
    status = bench.rig.until_status(node, State.HOLDING, Reason.DISK_FULL)
    assert "MB free" in status[2]
    bench.say(plain_episode(4))
    bench.rig.until(lambda: node.counters["episodes_without_room"] == 1)
    assert bench.stored() == []


def test_when_a_message_is_bad_expect_it_counted_and_the_rest_unharmed(bench: Bench) -> None:
    node = bench.start()
    bad = message(plain_episode(1)[1])[1]
    bad.n = 3
    bench.voices["decision"](bad)
    bench.say(plain_episode(4))
    bench.wait_stored(1)
    assert node.counters["bad_message"] == 1


def test_when_it_is_configured_anew_expect_numbers_and_books_to_go_on(bench: Bench) -> None:
    node = bench.start()
    bench.say(plain_episode(10, episode=1))
    bench.wait_stored(3)
    node.trigger_deactivate()
    node.trigger_cleanup()
    node.trigger_configure()
    node.trigger_activate()
    bench.agree(from_contract(CONTRACT))
    # Episode 2 passed while nobody listened.
    bench.say(plain_episode(10, EpisodeEventKind.FAILED, episode=3))
    bench.wait_stored(6)
    bench.rig.until(lambda: node.counters["transitions"] == 6)
    notes = [r.payload for r in read_all(bench.folder / "r" / "transitions") if r.kind is RecordKind.NOTE]
    assert [b'"unseen"' in n for n in notes] == [False, True, False]
    assert [t.episode for t in bench.stored()] == [1, 1, 1, 3, 3, 3]


@pytest.mark.parametrize("bad", [{"run": "../x"}, {"run": ""}, {"segment_mb": 2.0, "max_spool_mb": 4.0}])
def test_when_parameters_contradict_expect_refusal(bench: Bench, bad: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        bench.rig.add(TransitionNode, **bad)
