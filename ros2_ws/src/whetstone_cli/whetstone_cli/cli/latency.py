# SPDX-License-Identifier: Apache-2.0
"""How long the stages from request to chunk take in the stack that runs, as its arm_node says."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray

from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.graph import Graph
from whetstone_common.core.stage_latency import StageSummary, latencies_of
from whetstone_common.nodes import qos

_ARM = "arm_node"
MEANINGS = {
    "camera": "age of the oldest image or joint state in an observation",
    "wait": "observation_node waits for images newer than the request",
    "preprocess": "observation_node decodes and fits images",
    "queue": "vla_node has the observation, until it begins",
    "prefix": "vla_node: images and words through the VLM",
    "noise": "vla_node draws noise, or waits for steering_node's",
    "denoise": "vla_node: all candidates through the action expert",
    "steer": "steering_node chooses and edits",
    "transport": "what is left: messages on their way, and waiting for a core",
    "request to chunk": "all of these but the first",
    "arm": "arm_node has the chunk, until its first step begins",
}


def measured(namespace: str) -> dict[str, StageSummary]:
    """Durations by stage.

    Raises:
        UserError: No stack runs, or no chunk has been played since the arm was armed.
    """
    with Graph(namespace) as graph:
        heard: dict[str, StageSummary] = {}
        said: list[str] = []

        def listen(msg: DiagnosticArray) -> None:
            for entry in msg.status:
                if entry.name.split(":")[0] == f"{namespace}/{_ARM}".lstrip("/"):
                    said.append(entry.name)
                    heard.update(latencies_of({value.key: value.value for value in entry.values}))

        graph.node.create_subscription(DiagnosticArray, "/diagnostics", listen, qos.DIAGNOSTICS)
        graph.spin_until(lambda: said)
        if not said:
            raise graph.missing(_ARM)
    if not heard:
        raise UserError(
            "no chunk has come since the arm was armed: there is nothing to measure\n\nRun an episode first."
        )
    return heard
