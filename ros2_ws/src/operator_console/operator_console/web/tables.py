# SPDX-License-Identifier: Apache-2.0
"""Tables of the page as HTML; everything that came off the wire is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from operator_console.core.session import GraphSnapshot, NodeView
from whetstone_common.core.enums import Actor, Outcome
from whetstone_common.core.reason import State

_GOOD, _WAIT = {State.READY, State.RUNNING}, {State.HOLDING, State.STARTING}
_DRIVERS = {Actor.HOLD: "nobody (holds)", Actor.POLICY: "policy", Actor.HUMAN: "human"}
_PERCENT = 100.0


def node_table(nodes: Iterable[NodeView]) -> str:
    """Every node, its state, the reason in words, and how old that is."""
    rows = [
        f"<tr data-node='{escape(node.name)}'><td>{escape(node.name)}</td>"
        f"<td class='{_colour(node)}'>{escape(_state_text(node))}</td><td>{escape(node.words)}</td></tr>"
        for node in nodes
    ]
    body = (
        "".join(rows) or "<tr><td colspan=3>No node has been heard: is the stack running in this ROS domain?</td></tr>"
    )
    return f"<table class='plain'><tr><th>node</th><th>state</th><th>in words</th></tr>{body}</table>"


def _colour(node: NodeView) -> str:
    if node.is_silent:
        return "state-bad"
    return "state-good" if node.state in _GOOD else "state-wait" if node.state in _WAIT else "state-bad"


def _state_text(node: NodeView) -> str:
    return f"silent for {node.age_s:.0f} s" if node.is_silent else node.state.name


def figures_table(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values."""
    body = "".join(
        f"<tr><td>{escape(name)}</td><td data-figure='{escape(name)}'>{escape(value)}</td></tr>" for name, value in rows
    )
    return f"<table class='plain'>{body}</table>"


def episode_rows(snapshot: GraphSnapshot) -> list[tuple[str, str]]:
    """The episode, what the policy is told, who drives, what was counted."""
    episode, rate = snapshot.episode, snapshot.rate
    state = "none yet" if not episode.number else "runs" if episode.outcome is None else episode.outcome.text
    counts = ", ".join(f"{snapshot.outcomes.get(outcome, 0)} {outcome.text}" for outcome in Outcome)
    interval = f"{_PERCENT * rate.low:.0f} to {_PERCENT * rate.high:.0f} %"
    said = f"{rate.successes} of {rate.episodes}, {_PERCENT * rate.rate:.0f} % (95 % interval {interval})"
    return [
        ("episode", f"{episode.number} of {episode.task or 'no task'}: {state}"),
        ("reason", episode.reason or "–"),
        ("instruction", snapshot.instruction or "none"),
        ("driver", _DRIVERS[snapshot.driver]),
        ("outcomes", counts),
        ("success rate", said if rate.episodes else "no judged episode yet"),
        ("robot time", f"{snapshot.robot_min:.2f} min in episodes"),
        ("human share", f"{_PERCENT * snapshot.human_share:.1f} % of all steps"),
    ]


def policy_rows(snapshot: GraphSnapshot) -> list[tuple[str, str]]:
    """What serves, and how long it takes."""
    rows = [
        ("VLA", snapshot.model or "no contract yet"),
        ("method", snapshot.method or "no decision yet"),
        ("policy version", str(snapshot.policy_version) if snapshot.policy_version else "base (0)"),
    ]
    rows += [
        (stage, f"{found.median_ms:.1f} ms (99 % within {found.p99_ms:.1f} ms, {found.count} requests)")
        for stage, found in snapshot.latencies.items()
    ]
    return rows
