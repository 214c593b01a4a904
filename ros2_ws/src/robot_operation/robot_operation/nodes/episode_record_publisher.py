# SPDX-License-Identifier: Apache-2.0
"""What an episode publishes for the recorder of transitions, and whether the recorder receives all of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from vla_interfaces.msg import EpisodeEvent, RecorderSources, Reward
from vla_interfaces.msg import Stamp as StampMsg

from robot_operation.core.episodes import EpisodeResult
from robot_operation.core.health import Health
from robot_operation.core.recorder_connection import RecorderConnection, RecordPublisher
from robot_operation.nodes import episode_convert as convert
from robot_operation.nodes.episode_context import EpisodeContext
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.record_source import RecordSource

# Nodes that the recorder must receive from, and the recorder.
_DECIDER, _RECORDER = "steering_node", "transition_node"


class EpisodeRecordPublisher:
    """Publishers of rewards and episode events, and the state of the connection to the recorder."""

    def __init__(self, node: WhetstoneNode, health: Health, wake: Callable[[], None]) -> None:
        """Create publishers and subscription.

        Args:
            node: That owns them.
            health: Of the nodes that an episode needs.
            wake: Lets the run check whether it can go on.
        """
        self._node, self._health, self._wake = node, health, wake
        self._events = node.create_publisher(EpisodeEvent, "episode", qos.RECORD)
        self._rewards = node.create_publisher(Reward, "reward", qos.RECORD)
        self._recorder = RecorderConnection(node.param("silent_after_s"))
        node.create_subscription(RecorderSources, "recorder_sources", self._on_recorder_sources, qos.LATCHED)
        self._source = RecordSource(node, {"reward": self._hello_reward, "episode": self._hello_event})

    def missing(self, now_s: float) -> str:
        """Records that the recorder does not receive, empty for none."""
        recorder = self._health.report(_RECORDER)
        return self._recorder.missing(self._sources(), recorder.epoch_ns if recorder else None, now_s)

    def _sources(self) -> dict[str, RecordPublisher]:
        """Who publishes what is stored."""
        own = RecordPublisher(self._node.get_name(), self._node.epoch_ns)
        # A latched sample can reach its reader after seconds; a contract has no epoch.
        sources = {"reward": own, "episode": own, "policy_contract": RecordPublisher("vla_node", 0)}
        for topic, name in (("executed", self._node.param("arm_name")), ("decision", _DECIDER)):
            if report := self._health.report(name):
                sources[topic] = RecordPublisher(name, report.epoch_ns)
        return sources

    def _on_recorder_sources(self, msg: RecorderSources) -> None:
        sources = dict.fromkeys(zip(msg.topics, msg.source_epochs, strict=False))
        self._recorder.update(msg.recorder_epoch, sources, time.monotonic())
        self._wake()

    def _hello_reward(self) -> None:
        self._rewards.publish(Reward(stamp=StampMsg(epoch=self._node.epoch_ns)))

    def _hello_event(self) -> None:
        self._events.publish(EpisodeEvent(epoch=self._node.epoch_ns, event=EpisodeEvent.HELLO))

    def publish_reward(self, context: EpisodeContext, result: EpisodeResult) -> None:
        """Publish the reward of an episode's last step."""
        self._rewards.publish(convert.to_reward(result, context.epoch, context.episode))

    def publish_event(
        self, context: EpisodeContext, event: int, result: EpisodeResult | None, duration_s: float
    ) -> None:
        """Publish that an episode has begun, or how it ended."""
        self._events.publish(
            convert.to_event(
                context.plan,
                epoch=context.epoch,
                episode=context.episode,
                event=event,
                instruction=context.instruction,
                time_ns=result.end_ns if result else context.start_ns,
                result=result,
                duration_s=duration_s,
            )
        )
