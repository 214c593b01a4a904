# SPDX-License-Identifier: Apache-2.0
"""Rows of the record: an episode that says nothing about the policy is not counted, and no words are wrong in silence.

The real episode_node runs episodes of a cell that is told what to do; the last rows ask the real observation_node.
"""

from __future__ import annotations

from typing import Any

from std_msgs.msg import String
from vla_interfaces.action import RunEpisodes
from vla_interfaces.msg import EpisodeEvent, Reward

from fakes.fake_cell import FakeCell, Script
from harness.oracle import Verdict, judge_reason
from harness.rows.case import Case, check, now_ns, statuses_of, total
from harness.until import until
from harness.watcher import LATCHED
from harness.world import World
from whetstone_common.core.enums import Outcome

_END_S = 30.0
_STEPS = 60
_HOLD_S = 2.0
_NEVER = 10**9
_TOO_LONG = "stop and do nothing " * 100
_NODES = ["arm_node", "vla_node", "observation_node"]


class _Stage:
    """episode_node, its cell, and everything that it tells."""

    def __init__(self, world: World, script: Script, mutation: str) -> None:
        self.world = world
        self.cell = world.watcher.adopt(lambda context: FakeCell(script, context=context))
        self.events = world.watcher.listen(EpisodeEvent, "episode")
        self.rewards = world.watcher.listen(Reward, "reward")
        parameters = {"watched_nodes": _NODES, "hold_timeout_s": _HOLD_S, "max_steps": _STEPS}
        world.node("robot_operation", "episode_node", parameters=parameters, mutation=mutation)
        world.wait_ready("episode_node")

    def send(self, **goal: Any) -> Any:
        """Future of the result of a goal."""
        return self.world.watcher.send_goal(RunEpisodes, "run_episodes", **({"episodes": 1} | goal)).get_result_async()

    def run(self, **goal: Any) -> Any:
        """Result of a goal."""
        return self.result(self.send(**goal))

    @staticmethod
    def result(future: Any) -> Any:
        """Result, once it is there."""
        until(future.done, _END_S, "the goal ends")
        return future.result().result

    def judge_aborted(self, result: Any, *told: str) -> Verdict:
        """The episode is aborted, its reason is told with these words in it, and nobody got a reward for it."""
        reasons = [result.message, *(msg.reason for _, msg in self.events[-1:])]
        silent = [word for word in told for reason in reasons if word not in reason]
        return (
            check(list(result.outcomes) == [Outcome.ABORTED], f"outcomes {result.outcomes}: {result.message}")
            + check(not silent, f"{reasons} do not say {silent}")
            + check(not self.rewards, f"{len(self.rewards)} rewards for an episode that says nothing")
        )


def blind_episode(world: World, seed: int, mutation: str) -> Verdict:
    """Row 75: a node holds from the first step to the last, or for most of them, or for long; none of it counts."""
    begin = 1 + seed % 3
    holds = {0: (begin, _NEVER), 1: (5, 50 + seed % 9), 2: (begin, _NEVER), 3: (30, 45)}
    stage = _Stage(world, Script(hold_at=holds, succeed_at={2: _STEPS - 2}), mutation)
    verdicts = [stage.judge_aborted(stage.run(first_seed=each), "vla_node held", "no front") for each in range(3)]
    brief = stage.run(first_seed=3)
    return total(verdicts) + check(list(brief.outcomes) == [Outcome.TIMED_OUT], f"a brief hold: {brief.message}")


def blind_from_the_start(world: World, seed: int, mutation: str) -> Verdict:
    """Row 75: a node that holds before the start keeps the arm from moving."""
    stage = _Stage(world, Script(), mutation)
    stage.cell.hold_idle()
    world.watcher.wait_state("vla_node", "HOLDING")
    verdict = stage.judge_aborted(stage.run(first_seed=seed), "not begun: vla_node is holding", "no front")
    return verdict + check("resume" not in stage.cell.calls, "the arm was let go")


def words_that_cannot_be_said(world: World, seed: int, mutation: str) -> Verdict:
    """Row 76: refused where they are given, and nothing moves or is said."""
    stage = _Stage(world, Script(), mutation)
    verdicts = []
    for words in (_TOO_LONG, "   ", "put it\ndown", "go \u202e on"):
        result = stage.run(instruction=words)
        refused = result.episodes == 0 and "the instruction" in result.message
        verdicts.append(check(refused, f"{words[:20]!r}: {result.outcomes} {result.message}"))
    calls, said = stage.cell.calls, stage.cell.instructions
    return total(verdicts) + check(not calls and not said, f"the cell was asked for {calls} with {said}")


def words_that_are_not_followed(world: World, seed: int, mutation: str) -> Verdict:
    """Row 76: the policy would be shown the words of the episode before; nothing moves."""
    stage = _Stage(world, Script(deaf=True), mutation)
    stage.cell.in_use.publish(String(data="the words before"))
    verdict = stage.judge_aborted(stage.run(first_seed=seed), "'the words before'", "'put the red cube'")
    return verdict + check("resume" not in stage.cell.calls, "the arm was let go")


def words_change_midway(world: World, seed: int, mutation: str) -> Verdict:
    """Row 77: another publisher changes the words while the arm moves; the episode ends with its name."""
    stage = _Stage(world, Script(), mutation)
    # Present before, as a panel of buttons would be; being there is no fault.
    foreign = world.watcher.node.create_publisher(String, "instruction", LATCHED)
    future = stage.send(first_seed=seed, max_steps=2000)
    until(lambda: stage.cell.tick > 5 + seed % 20, _END_S, "the arm moves")
    foreign.publish(String(data=("stack it", "", "  put the red cube on me")[seed % 3]))
    return stage.judge_aborted(stage.result(future), "instead of 'put the red cube'", "/watcher")


def observer_refuses_words(world: World, seed: int, mutation: str) -> Verdict:
    """Row 76: what cannot be said leaves the observer without words, with a reason and a counter."""
    in_use = world.watcher.listen(String, "instruction_in_use", LATCHED)
    world.node("vla_policy", "observation_node", mutation=mutation)
    world.watcher.say(String(data="the words before"), "instruction", LATCHED, deadline_s=_END_S)
    until(lambda: in_use and in_use[-1][1].data == "the words before", _END_S, "words are in use")
    fault_ns = now_ns()
    world.watcher.say(String(data=(_TOO_LONG, "", "go\x1b[2J")[seed % 3]), "instruction", LATCHED)
    until(lambda: len(in_use) > 1, _END_S, "the observer says what it uses")
    used = in_use[-1][1].data
    said = judge_reason(
        statuses_of(world), "observation_node", "BAD_MESSAGE", fault_ns, counter="instruction_bad", detail="instruction"
    )
    return said + check(used == "", f"the policy would be shown {used[:40]!r}")


CASES = (
    Case("75", "blind episode", blind_episode, ("holding_is_well",), quick=True),
    Case("75", "blind from the start", blind_from_the_start, ("holding_is_well",)),
    Case("76", "words that cannot be said", words_that_cannot_be_said, ("any_words_may_be_said",), quick=True),
    Case("76", "words that are not followed", words_that_are_not_followed, ("words_are_not_compared",)),
    Case("76", "observer refuses words", observer_refuses_words, ("any_words_are_shown",)),
    Case("77", "words change midway", words_change_midway, ("words_are_not_compared",), quick=True),
)
