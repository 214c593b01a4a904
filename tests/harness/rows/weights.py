# SPDX-License-Identifier: Apache-2.0
"""Rows of weights: cut, altered, of something else, poisonous, or from somebody else; the robot works on."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import Any

from vla_interfaces.msg import ActionChunk, WeightsAck

from fakes.policy_sets import wrong_sets
from harness.cells import Cell, ring_cell
from harness.oracle import Verdict, judge_reason
from harness.ring import contract
from harness.rows.case import SLACK_S, Case, always, check, now_ns, statuses, watch_for
from harness.until import until
from harness.watcher import RELIABLE
from harness.world import World

_ACK_S = 10.0
# Scores are computed and nothing is edited: the motion stays that of the null model, and chunks carry the version.
_STEERING: dict[str, Any] = {"method": "expo", "n_candidates": 2, "margin": 10.0, "base_margin": 10.0}
_KEY = "only these two know it"


class Trained:
    """The ring with a learned method, a trainer in a process of its own, and what was heard of both."""

    def __init__(self, world: World, mutation: str, *, key: str = "") -> None:
        self.world = world
        self.chunks = world.watcher.listen(ActionChunk, "action_chunk", RELIABLE)
        self.acks = world.watcher.listen(WeightsAck, "weights_ack", RELIABLE)
        steering = dict(_STEERING)
        if key:
            file = world.folder / "key"
            file.write_text(key, encoding="utf-8")
            steering["weights_key_file"] = str(file)
        world.fake("fake_trainer", parameters={"key": key})
        self.cell: Cell = ring_cell(
            world, mutations={"steering_node": mutation}, parameters={"steering_node": {"execute_steps": 6} | steering}
        )
        world.wait_ready("fake_trainer")
        self.cell.run()
        self.good = {0}
        self.since_ns = now_ns()

    def send(self, order: str, who: str = "fake_trainer") -> None:
        """Have a set published."""
        self.world.watcher.tell(who, send=order)

    def begin(self, *orders: str) -> None:
        """Send sets before the fault; that they decide belongs to the start."""
        for order in orders:
            version = int(order.split(":")[1])
            self.good.add(version)
            self.send(order)
            until(lambda version=version: self._decides(version), _ACK_S, f"a chunk of version {version}")

    def accepts(self, order: str) -> Verdict:
        """Send a good set, and judge whether it decides."""
        try:
            self.begin(order)
        except AssertionError as error:
            return Verdict((f"{order}: {error}",))
        return Verdict()

    def _decides(self, version: int) -> bool:
        return any(msg.policy_version == version for _, msg in self.chunks)

    def refusal(self, order: str, reason: str, who: str = "fake_trainer") -> Verdict:
        """Send a set, and judge the answer."""
        count = len(self.acks)
        self.send(order, who)
        try:
            until(lambda: len(self.acks) > count, _ACK_S, "an answer")
        except AssertionError:
            return Verdict((f"{order}: no answer",))
        ack = self.acks[-1][1]
        right = not ack.accepted and ack.reason.startswith(f"{reason}: ")
        return check(right, f"{order}: accepted {ack.accepted}, reason {ack.reason!r}, expected {reason}")

    def judge(self) -> Verdict:
        """Only good versions decided, in order, without a gap, and the arm never stopped."""
        self.chunks_until(len(self.chunks) + 2)
        versions = [msg.policy_version for _, msg in self.chunks]
        times = [t for t, _ in self.chunks if t >= self.since_ns]
        gaps = [(b - a) / 1e9 for a, b in zip(times, times[1:], strict=False)]
        longest, usual = max(gaps), statistics.median(gaps)
        after = [s for s in statuses(self.cell) if s.t_ns >= self.since_ns]
        states = {(s.node, s.state) for s in after if s.node in ("steering_node", "arm_node")}
        bad = states & {("steering_node", "ERROR"), ("steering_node", "HOLDING"), ("arm_node", "STOPPED"),
                        ("arm_node", "ERROR")}  # fmt: skip
        return (
            check(set(versions) <= self.good, f"chunks of versions {sorted(set(versions) - self.good)}")
            + check(versions == sorted(versions), "an older version came back")
            + check(longest <= 3.0 * usual + SLACK_S, f"{longest:.2f} s without a chunk", longest_gap_s=longest)
            + check(not bad, f"states {sorted(bad)}")
            + always(self.cell)
            + self.cell.judge_smooth()
        )

    def chunks_until(self, count: int) -> None:
        """Wait for chunks; none coming is for the judge."""
        end_ns = now_ns() + int(_ACK_S * 1e9)
        until(lambda: len(self.chunks) >= count or now_ns() > end_ns, _ACK_S + 1.0, "chunks")


def cut(world: World, seed: int, mutation: str) -> Verdict:
    """Row 27: cut, a piece missing, pieces in another order and twice; a second try works."""
    ring = Trained(world, mutation)
    ring.begin("good:1")
    share = random.Random(seed).uniform(0.1, 0.9)  # noqa: S311
    verdict = ring.refusal(f"cut:2:{share}", "size")
    ring.send("missing:3:1")
    watch_for(1.0)
    verdict += ring.judge()
    return verdict + ring.accepts(f"shuffled:4:{seed}") + ring.judge()


def altered(world: World, seed: int, mutation: str) -> Verdict:
    """Row 28: one bit of ten sets."""
    ring = Trained(world, mutation)
    ring.begin("good:1")
    verdict = Verdict()
    for version in range(2, 12):
        verdict += ring.refusal(f"bit:{version}:{seed}{version}", "sha256")
    return verdict + ring.accepts("good:12") + ring.judge()


def of_something_else(world: World, seed: int, mutation: str) -> Verdict:
    """Row 29: every way in which a set can be whole and yet wrong."""
    ring = Trained(world, mutation)
    ring.begin("good:5")
    sets = list(wrong_sets(contract(), 6).items())
    random.Random(seed).shuffle(sets)  # noqa: S311
    verdict = Verdict()
    for name, (_, reason) in sets:
        verdict += ring.refusal(f"wrong:6:{name}", reason)
    verdict += ring.judge()
    return verdict + ring.accepts("good:7") + ring.judge()


def poison(world: World, seed: int, mutation: str) -> Verdict:
    """Row 30: bytes that make a file when they are unpickled, under a manifest that fits them."""
    ring = Trained(world, mutation)
    ring.begin("good:1")
    marker = world.folder / f"ran_{seed}"
    verdict = ring.refusal(f"pickle:2:{marker}", "header")
    return (
        verdict + ring.accepts("good:3") + check(not marker.exists(), "code in a set of weights was run") + ring.judge()
    )


def second_trainer(world: World, seed: int, mutation: str) -> Verdict:
    """Row 31: a second process sends valid, newer sets, and replays an old one; the first goes on."""
    ring = Trained(world, mutation)
    world.fake("fake_trainer", name="rogue")
    ring.begin("good:1", "good:2")
    world.wait_ready("rogue")
    fault_ns = now_ns()
    verdict = _rogue(ring, ["good:9", "good:1", f"good:{10 + seed % 5}"], "source")
    verdict += judge_reason(statuses(ring.cell), "steering_node", "SECOND_SOURCE", fault_ns, within_s=3.0)
    return verdict + ring.accepts("good:3") + ring.judge()


def unsigned(world: World, seed: int, mutation: str) -> Verdict:
    """Row 31 with a key: not signed, signed with another key, signed but old; signed and new is taken."""
    ring = Trained(world, mutation, key=_KEY)
    world.fake("fake_trainer", name="rogue")
    ring.begin("good:1", "good:2")
    world.wait_ready("rogue")
    verdict = _rogue(ring, ["good:9"], "signature")
    world.watcher.tell("rogue", key=f"another key, no. {seed}")
    verdict += _rogue(ring, ["good:10"], "signature")
    world.watcher.tell("rogue", key=_KEY, run="../../etc")
    verdict += _rogue(ring, ["good:11"], "run")
    world.watcher.tell("rogue", run="run")
    # The last four sets are kept, and one that is kept is acknowledged again: something older that never was.
    verdict += _rogue(ring, ["wrong:2:an older version"], "signature")
    return verdict + ring.accepts("good:3") + ring.judge()


def _rogue(ring: Trained, orders: Sequence[str], reason: str) -> Verdict:
    verdict = Verdict()
    for order in orders:
        verdict += ring.refusal(order, reason, "rogue")
    return verdict


CASES = (
    Case("27", "cut, a piece missing, another order", cut, ("gaps_are_filled",)),
    Case("28", "a flipped bit", altered, ("bytes_are_believed",)),
    Case("29", "whole but wrong", of_something_else, ("weights_are_not_tried", "any_version_is_newer"), quick=True),
    Case("30", "a pickle on the topic of the weights", poison, ("weights_are_unpickled",)),
    Case("31", "a second trainer", second_trainer, ("any_trainer_is_followed",), quick=True),
    Case("31", "unsigned, of another key, of another run", unsigned, ("signatures_are_not_read",)),
)
