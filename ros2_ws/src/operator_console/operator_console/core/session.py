# SPDX-License-Identifier: Apache-2.0
"""What the console knows of the robot since it runs: nodes, episodes, who moved the arm, how long the policy took.

Fed by the node's callbacks and read by the pages, from different threads; time is passed in.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from operator_console.core.episode_tally import EpisodeTally, EpisodeView
from whetstone_common.core.enums import Actor, Outcome
from whetstone_common.core.reason import Reason, State, sentence
from whetstone_common.core.stage_latency import StageLatency, StageSummary
from whetstone_common.core.success_rate import Rate, wilson

# Nodes say their state twice a second.
_SILENT_S = 3.0
_S_PER_MIN = 60.0


@dataclass(frozen=True)
class NodeView:
    """A node as a person reads it.

    Attributes:
        name: Without namespace.
        state: Of its newest status.
        words: State, reason and detail in words.
        age_s: Since the newest status.
    """

    name: str
    state: State
    words: str
    age_s: float

    @property
    def is_silent(self) -> bool:
        """Whether it should have spoken since."""
        return self.age_s > _SILENT_S


@dataclass(frozen=True)
class GraphSnapshot:
    """Everything at one moment.

    Attributes:
        nodes: In alphabetic order.
        episode: That runs, or ran last.
        instruction: That the policy is shown now.
        outcomes: Episodes by outcome since the console runs.
        rate: Successes of the judged ones, with their interval.
        robot_min: Duration of all episodes (min).
        human_share: Of all executed steps, those a human commanded, 0..1.
        driver: Who commanded the newest step.
        model: Name and hash of the served VLA weights.
        policy_version: Of the small policies at the newest decision, 0 for none.
        method: Of the newest decision.
        latencies: How long each stage from request to chunk took lately.
    """

    nodes: tuple[NodeView, ...] = ()
    episode: EpisodeView = field(default_factory=EpisodeView)
    instruction: str = ""
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)
    rate: Rate = field(default_factory=lambda: wilson(0, 0))
    robot_min: float = 0.0
    human_share: float = 0.0
    driver: Actor = Actor.HOLD
    model: str = ""
    policy_version: int = 0
    method: str = ""
    latencies: Mapping[str, StageSummary] = field(default_factory=dict)

    def node(self, name: str) -> NodeView | None:
        """Node of a name, None when it has not been heard."""
        return next((node for node in self.nodes if node.name == name), None)


class Session:
    """Collects what is published."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._lock = threading.Lock()
        self._nodes: dict[str, tuple[State, str, float]] = {}
        self._episodes = EpisodeTally()
        self._steps: Counter[Actor] = Counter()
        self._driver = Actor.HOLD
        self._latency = StageLatency()
        self._asked = (0, 0.0)  # newest request, and when
        self.instruction = self.model = self.method = ""
        self.policy_version = 0

    def on_status(self, name: str, state: State, reason: Reason, detail: str, now_s: float) -> None:
        """A node says its state."""
        with self._lock:
            self._nodes[name] = (state, sentence(state, reason, detail), now_s)

    def on_start(self, task: str, instruction: str, number: int) -> None:
        """An episode begins."""
        with self._lock:
            self._episodes.begin(EpisodeView(task, instruction, number))

    def on_end(
        self, task: str, instruction: str, number: int, outcome: Outcome, reason: str, duration_s: float
    ) -> None:
        """An episode has ended."""
        with self._lock:
            self._episodes.end(EpisodeView(task, instruction, number, outcome, reason), outcome, duration_s)

    def on_step(self, actor: Actor) -> None:
        """A step was executed."""
        with self._lock:
            self._steps[actor] += 1
            self._driver = actor

    def on_request(self, request_id: int, now_s: float) -> None:
        """The arm asks the policy."""
        with self._lock:
            self._asked = (request_id, now_s)

    def on_chunk(self, request_id: int, now_s: float, stages_s: Mapping[str, float]) -> None:
        """The policy has answered; only the answer to the newest request counts."""
        with self._lock:
            asked_id, asked_s = self._asked
            if request_id == asked_id:
                self._latency.on_cycle(now_s - asked_s, stages_s)

    def snapshot(self, now_s: float) -> GraphSnapshot:
        """All of it at this moment."""
        with self._lock:
            latency = self._latency.copy()
        latencies = latency.summary()  # without the lock, which the node's callbacks need
        with self._lock:
            steps = sum(self._steps.values())
            return GraphSnapshot(
                nodes=tuple(
                    NodeView(name, state, words, now_s - heard_s)
                    for name, (state, words, heard_s) in sorted(self._nodes.items())
                ),
                episode=self._episodes.newest,
                instruction=self.instruction,
                outcomes=self._episodes.outcomes,
                rate=self._episodes.rate,
                robot_min=self._episodes.robot_s / _S_PER_MIN,
                human_share=self._steps[Actor.HUMAN] / steps if steps else 0.0,
                driver=self._driver,
                model=self.model,
                policy_version=self.policy_version,
                method=self.method,
                latencies=latencies,
            )
