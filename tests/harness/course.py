# SPDX-License-Identifier: Apache-2.0
"""A training run of real processes: transition_node, learner_node, a robot that plays short episodes, a robot's ears.

With a band of 0 a run's outcome follows from its stored transitions alone. So whatever was killed and restarted on the
way, the newest checkpoint must have the hash of a learner that was given the same transitions here, without a break.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message, serialize_message
from vla_interfaces.msg import PolicyWeights, RecorderSources
from vla_interfaces.msg import Transition as TransitionMsg

from experience.core.codec import decode
from experience.core.records import EpisodeEventKind
from experience.core.spool import RecordKind, read_all
from experience.core.transition import Transition
from experience.nodes.convert import from_transition, to_transition
from experience.nodes.known_sources import NO_EPOCH, TOPICS
from fakes.rl_episodes import CONTRACT, HASH, C, plain_episode
from fakes.rl_runs import SHAPE, feed, finish, store, write_method
from fakes.rl_stream import hello, message, pairs_of
from fakes.threads import one_thread
from harness.oracle import Status, Verdict, judge_equal, judge_ledger
from harness.proc import Proc
from harness.until import until
from harness.world import World
from rl_learner.core.checkpoint import digest, latest, load
from rl_learner.core.training_run import RuntimeLimits, TrainingRun
from rl_methods.common.weights import Assembler, PolicySet, WeightsError, unpack
from rl_methods.config import read_method_config
from vla_policy.nodes.weights_wire import to_manifest
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import from_contract

STEPS = 12
EPOCH = 1  # of the episodes that are played
CAPACITY = 2000
_MAX_BYTES = 1 << 26
# The robot of a course is told apart from an arm that moves in the same world.
_APART = {topic: f"course/{topic}" for topic in ("policy_contract", "recorder_sources", *TOPICS)}


class Course:
    """One run.

    Args:
        world: Where it lives.
        learner: Parameters of learner_node that differ.
        node: Parameters of transition_node that differ.
        schedule: Settings of the method's schedule that differ.
    """

    def __init__(
        self,
        world: World,
        *,
        learner: dict[str, Any] | None = None,
        node: dict[str, Any] | None = None,
        **schedule: Any,
    ) -> None:
        self.world = world
        self.folder = world.folder / "runs" / "r"
        self.method = write_method(world.folder, **schedule)
        common = {"directory": str(world.folder / "runs"), "run": "r"}
        self.node_parameters = common | {
            "window_steps": C, "resend_s": 0.3, "episode_grace_s": 4.0, "pace": "lockstep",
            "min_free_mb": 0.0,
        } | (node or {})  # fmt: skip
        self.learner_parameters = common | {
            "method_file": str(self.method), "candidates": SHAPE.candidates, "capacity": CAPACITY,
            "max_pending_updates": 0, "publish_period_s": 0.05, "checkpoint_period_s": 0.3,
        } | (learner or {})  # fmt: skip
        self.pieces = world.watcher.listen(PolicyWeights, "policy_weights", qos.WEIGHTS)
        self.heard = world.watcher.listen(RecorderSources, _APART["recorder_sources"], qos.LATCHED)
        self.episode = self.starts = 0
        self._publishers: dict[str, Any] = {}
        self._say(from_contract(CONTRACT), "policy_contract", qos.LATCHED)

    # ---- processes -------------------------------------------------------------------------------------------------

    def start_node(self, mutation: str = "") -> Proc:
        """transition_node, again."""
        self.starts += 1
        name = f"transition_{self.starts}"
        return self.world.node(
            "experience", "transition_node", parameters=self.node_parameters, mutation=mutation, name=name, remap=_APART
        )

    def start_learner(self, mutation: str = "") -> Proc:
        """learner_node, again."""
        self.starts += 1
        return self.world.node(
            "rl_learner", "learner_node", parameters=self.learner_parameters, mutation=mutation,
            name=f"learner_{self.starts}", remap=_APART,
        )  # fmt: skip

    def status(self) -> Status | None:
        """What learner_node said last."""
        return self.world.watcher.latest("learner_node")

    def counter(self, name: str) -> int:
        """A counter of learner_node."""
        status = self.status()
        return status.counters.get(name, 0) if status else 0

    # ---- the robot ---------------------------------------------------------------------------------------------------

    def _say(self, msg: Any, topic: str, profile: Any) -> None:
        if topic not in self._publishers:
            self._publishers[topic] = self.world.watcher.node.create_publisher(type(msg), _APART[topic], profile)
        self._publishers[topic].publish(msg)

    def wait_heard(self, deadline_s: float = 30.0) -> None:
        """Say hello until transition_node says that it hears the robot."""
        self.heard.clear()

        def is_heard() -> bool:
            for topic in TOPICS:
                self._say(hello(topic, EPOCH, self.episode), topic, qos.RECORD)
            said = pairs_of(self.heard[-1][1]) if self.heard else set()
            return said >= {("policy_contract", NO_EPOCH), *((topic, EPOCH) for topic in TOPICS)}

        until(is_heard, deadline_s, "transition_node hears the robot")

    def next_episode(self) -> list[Any]:
        """Records of one more episode; every other succeeds."""
        self.episode += 1
        outcome = EpisodeEventKind.SUCCEEDED if self.episode % 2 else EpisodeEventKind.TIMED_OUT
        return plain_episode(STEPS, outcome, episode=self.episode)

    def play(self, records: list[Any], pause_s: float = 0.002) -> None:
        """Say what happens, whether or not anybody listens."""
        for record in records:
            topic, msg = message(record)
            self._say(msg, topic, qos.RECORD)
            time.sleep(pause_s)

    def store(self, transitions: list[Any]) -> None:
        """Put transitions into the spool, before transition_node is started."""
        store(self.folder, transitions)

    # ---- judging ---------------------------------------------------------------------------------------------------

    def stored(self) -> list[Any]:
        """Payloads of the transitions on the disk, in order."""
        return [record for record in read_all(self.folder / "transitions") if record.kind is RecordKind.DATA]

    def wait_done(self, deadline_s: float = 90.0) -> None:
        """Until the learner has everything that is stored, and owes nothing."""
        last = self.stored()[-1].seq
        wanted = self.expected().learner.updates
        until(
            lambda: self.counter("through") == last and self.counter("updates") == wanted,
            deadline_s,
            f"{last} transitions and {wanted} updates; {self.status()}",
        )

    def expected(self) -> TrainingRun:
        """A run on the same transitions that nothing ever happened to."""
        session = TrainingRun(
            read_method_config(self.method),
            SHAPE,
            capacity=CAPACITY,
            limits=RuntimeLimits(max_pending_updates=0),
            contract_hash=HASH,
        )
        records = self.stored()
        with one_thread():  # as many as the node has, or the hashes differ
            feed(
                session,
                [as_heard(decode(r.payload)) for r in records],
                spool=self.spool(),
                first=records[0].seq if records else 1,
            )
            finish(session)
        return session

    def spool(self) -> int:
        """Identity of the spool."""
        return int(json.loads((self.folder / "transitions" / "spool.json").read_text(encoding="utf-8"))["identity"])

    def judge(self, learner: Proc) -> Verdict:
        """End the learner in good order, then O2 and O5 by its last checkpoint, and growing versions."""
        learner.term()
        code = learner.wait_exit(15.0)
        found, wrong = latest(self.folder / "checkpoints")
        if found is None:
            return Verdict(("there is no checkpoint",))
        saved, expected = load(found), self.expected().snapshot()
        books = judge_ledger(range(1, len(self.stored()) + 1), range(1, saved.notes["receipts"]["through"] + 1))
        doubled = saved.notes["tally"]["windows"] - len(self.stored())
        equal = judge_equal(
            {"learner": digest(expected.learner), "replay": digest(expected.replays["online"])},
            {"learner": digest(saved.learner), "replay": digest(saved.replays["online"])},
        )
        problems = [] if code == 0 else [f"learner_node ended with {code}"]
        problems += [f"{doubled} windows more than transitions"] if doubled else []
        return books + equal + Verdict((*problems, *wrong), {"updates": saved.step}) + self.judge_weights()

    def judge_weights(self) -> Verdict:
        """Every set that was published is one that a robot may take, and versions only grow."""
        sets, problems = self.sets()
        order = [(s.manifest.created_ns, s.manifest.version) for s in sets]
        versions = [version for _, version in sorted(order)]
        if versions != sorted(set(versions)):
            problems.append(f"versions {versions} do not grow")
        return Verdict(tuple(problems), {"sets": len(sets)})

    def sets(self) -> tuple[list[PolicySet], list[str]]:
        """Sets that came whole, and what is wrong with the others."""
        assembler, sets, problems = Assembler(_MAX_BYTES), [], []
        for _, msg in list(self.pieces):
            manifest = to_manifest(msg)
            data = assembler.offer(manifest, msg.piece, msg.pieces, bytes(msg.data))
            if data is None:
                continue
            try:
                sets.append(unpack(manifest, data, method="expo", contract_hash=HASH, run="r"))
            except WeightsError as error:
                problems.append(f"version {manifest.version}: {error}")
        return sets, problems


def as_heard(made: Transition) -> Transition:
    """What arrives of a transition: on the way its numbers become those of a message, in single precision."""
    sent = serialize_message(from_transition(made, "r", 1, 1))
    return to_transition(deserialize_message(sent, TransitionMsg))


def checkpoints(course: Course) -> list[Path]:
    """Those of a run, oldest first."""
    return sorted((course.folder / "checkpoints").glob("step-*"))
