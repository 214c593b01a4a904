# SPDX-License-Identifier: Apache-2.0
"""Rows of observations: stale, frozen, dropped, apart, wrong. All in the whole ring, behind fault relays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from vla_interfaces.msg import Observation

from harness.armlog import POLICY
from harness.cells import OPEN_LOOP_S, Cell, ring_cell
from harness.oracle import Verdict, judge_reason
from harness.rows.case import Case, always, check, now_ns, statuses, total, watch_for
from harness.rows.chunks import stop_and_recover
from harness.schedule import Fault, dump_faults
from harness.watcher import RELIABLE
from harness.world import World

_AGE_S = 0.15
_SKEW_S = 0.06
FRONT, _WRIST, _JOINTS = "/camera/front/image_raw", "/camera/wrist/image_raw", "/joint_states"
IMAGE, _STATE = "sensor_msgs/msg/Image", "sensor_msgs/msg/JointState"
_STRICT = {"observation_node": {"obs_max_age_s": _AGE_S, "obs_max_skew_s": _SKEW_S}}
_HOUR_S = 3600.0
_MEMORY_JUMP_BYTES = 50e6


def relay_of(topic: str) -> str:
    """Node name of the relay in front of a topic."""
    return "relay_" + topic.strip("/").replace("/", "_")


def strike(
    cell: Cell,
    relay: str,
    fault: Fault,
    *,
    reasons: Sequence[str],
    detail: str,
    allowed_s: float = _AGE_S,
    reason_s: float = 1.0,
    node: str = "observation_node",
) -> Verdict:
    """Harm a stream while the arm moves; the arm must hold, the node must name the stream; then heal and go on.

    Args:
        cell: The ring, moving.
        relay: Node that harms.
        fault: What it does.
        reasons: Reasons that count.
        detail: Name of the stream.
        allowed_s: How long the fault may go unnoticed before the chunk in hand counts.
        reason_s: How soon it must be said.
        node: Who says it.
    """
    watcher = cell.world.watcher
    watcher.tell(relay, faults=dump_faults([fault]))
    fault_ns = now_ns()
    watch_for(allowed_s + OPEN_LOOP_S + 1.2)
    verdict = cell.judge_stop(fault_ns, open_loop_s=allowed_s + OPEN_LOOP_S)
    verdict += judge_reason(statuses(cell), node, reasons, fault_ns, within_s=reason_s, detail=detail)
    verdict += always(cell)
    named = Verdict(
        tuple(f"{fault.kind} {fault.shift_s or ''} on {detail}: {p}" for p in verdict.problems), verdict.numbers
    )
    watcher.tell(relay, faults="[]")
    if not named.problems:
        stop_and_recover(cell)
        watcher.wait_state("observation_node", "READY", 10.0, after_ns=now_ns())
        cell.resume()
        cell.wait_moving()
    return named


def stale(world: World, seed: int, mutation: str) -> Verdict:
    """Row 13: stamps 1 s back, 1 h ahead, and zero, on a camera and on the joints."""
    cell = ring_cell(
        world,
        mutations={"observation_node": mutation},
        parameters=_STRICT,
        relays={_WRIST: IMAGE, _JOINTS: _STATE},
    )
    cell.run()
    verdicts = []
    reasons = ("STALE_OBSERVATION", "BAD_MESSAGE", "MISSING_STREAM", "OTHER_CLOCK")
    shifts_s = (-1.0, _HOUR_S, math.nan)
    # Joints feed the arm as well, which may stop for its own reason before the observation is missed.
    for topic, name, shift_s in (*((_WRIST, "wrist", s) for s in shifts_s), (_JOINTS, "joint", shifts_s[seed % 3])):
        fault = Fault("restamp", shift_s=shift_s, field="header.stamp")
        verdicts.append(strike(cell, relay_of(topic), fault, reasons=reasons, detail=name))
        if verdicts[-1].problems:
            return total(verdicts)
    return total(verdicts)


def frozen_camera(world: World, seed: int, mutation: str) -> Verdict:
    """Row 14: the same picture under fresh stamps."""
    cell = ring_cell(world, mutations={"observation_node": mutation}, parameters=_STRICT, relays={FRONT: IMAGE})
    cell.run()
    # Five frames at 30 Hz show that the picture stands still.
    return strike(cell, relay_of(FRONT), Fault("freeze"), reasons=("FROZEN_SOURCE",), detail="front", allowed_s=0.3)


def frozen_joints(world: World, seed: int, mutation: str) -> Verdict:
    """Row 14: joints that stand still under fresh stamps while the command moves."""
    cell = ring_cell(world, mutations={"arm_node": mutation}, relays={_JOINTS: _STATE})
    cell.run()
    fault = Fault("freeze")
    return strike(
        cell,
        relay_of(_JOINTS),
        fault,
        reasons=("FROZEN_SOURCE",),
        detail="",
        allowed_s=0.8,
        reason_s=1.5,
        node="arm_node",
    )


def drops(world: World, seed: int, mutation: str) -> Verdict:
    """Row 15: 30 and 70 % of the frames lost, a burst of 1 s, and one camera 200 ms behind; parts never mix."""
    cell = ring_cell(
        world,
        mutations={"observation_node": mutation},
        parameters=_STRICT,
        relays={_WRIST: IMAGE},
    )
    heard = world.watcher.listen(Observation, "observation", RELIABLE)
    cell.run()
    verdicts = []
    for share in (0.3, 0.7):
        world.watcher.tell(relay_of(_WRIST), faults=dump_faults([Fault("drop", probability=share)]), seed=seed)
        watch_for(1.5)
        if world.watcher.latest("arm_node").state == "STOPPED":
            stop_and_recover(cell)
            cell.resume()
    lagging = Fault("delay", delay_s=0.2)
    world.watcher.tell(relay_of(_WRIST), faults=dump_faults([lagging]))
    watch_for(1.5)
    verdicts.append(never_mixed(heard))
    world.watcher.tell(relay_of(_WRIST), faults="[]")
    if world.watcher.latest("arm_node").state == "STOPPED":
        stop_and_recover(cell)
        cell.resume()
    cell.wait_moving()
    watch_for(0.5)  # until the last late frame is through, or it would be the reason that is given
    burst = Fault("drop")
    verdicts.append(
        strike(cell, relay_of(_WRIST), burst, reasons=("STALE_OBSERVATION", "MISSING_STREAM"), detail="wrist")
    )
    return total(verdicts) + never_mixed(heard)


def never_mixed(heard: Sequence[tuple[int, Observation]]) -> Verdict:
    """No observation holds parts further apart than the limit, by their own stamps."""
    worst = 0.0
    for _, msg in heard:
        stamps = [image.header.stamp.sec + image.header.stamp.nanosec / 1e9 for image in msg.images]
        worst = max(worst, max(stamps) - min(stamps))
    return check(worst <= _SKEW_S, f"parts {worst:.3f} s apart, allowed {_SKEW_S}", worst_skew_s=worst)


def wrong_images(world: World, seed: int, mutation: str) -> Verdict:
    """Row 16: other encodings, sizes and lengths that lie; refused, named, and without a leap of memory."""
    cell = ring_cell(world, mutations={"observation_node": mutation}, parameters=_STRICT, relays={_WRIST: IMAGE})
    cell.run()
    node = cell.parts["observation_node"]
    before = resident_bytes(node.pid)
    harms: Mapping[str, tuple[str, str]] = {
        "encoding": ("encoding", '"16UC1"'),
        "height": ("height", "30000"),
        "step": ("step", "7"),
        "empty": ("data", "[]"),
    }
    verdicts = []
    for field, value in harms.values():
        fault = Fault("set", field=field, value=value)
        verdicts.append(strike(cell, relay_of(_WRIST), fault, reasons=("BAD_MESSAGE",), detail="wrist"))
        if verdicts[-1].problems:
            break
    grown = resident_bytes(node.pid) - before
    return (
        total(verdicts)
        + check(node.alive, "observation_node ended")
        + check(grown < _MEMORY_JUMP_BYTES, f"memory grew by {grown / 1e6:.0f} MB", memory_grown_mb=grown / 1e6)
    )


def resident_bytes(pid: int) -> float:
    """Resident set of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096.0


def wrong_joints(world: World, seed: int, mutation: str) -> Verdict:
    """Row 17: NaN and a missing joint hold the arm; another order of names changes nothing."""
    cell = ring_cell(world, mutations={"arm_node": mutation, "observation_node": mutation}, parameters=_STRICT)
    cell.run()
    watcher = world.watcher
    watcher.tell("fake_arm", shuffle=True)
    started_ns = now_ns()
    watch_for(1.0)
    moved = [c for c in cell.policy_commands_after(started_ns) if c.source == POLICY]
    verdicts = [check(len(moved) > 30, f"another order of names: {len(moved)} commands in a second"), always(cell)]
    if verdicts[0].problems:
        return total(verdicts)
    watcher.tell("fake_arm", shuffle=False)
    for told, healed in (({"nan_joint": 3}, {"nan_joint": -1}), ({"missing_joint": 2}, {"missing_joint": -1})):
        watcher.tell("fake_arm", **told)
        fault_ns = now_ns()
        watch_for(1.5)
        verdict = cell.judge_stop(fault_ns, open_loop_s=0.2 + OPEN_LOOP_S) + always(cell)
        verdict += judge_reason(statuses(cell), "arm_node", ("JOINT_STATE_LOST", "NOT_FINITE", "BAD_MESSAGE"), fault_ns)
        verdicts.append(Verdict(tuple(f"{told}: {problem}" for problem in verdict.problems), verdict.numbers))
        watcher.tell("fake_arm", **healed)
        if verdict.problems:
            break
        stop_and_recover(cell)
        cell.resume()
        cell.wait_moving()
    return total(verdicts)


CASES = (
    Case("13", "stale, future and zero stamps", stale, ("stamps_are_believed",)),
    Case("14", "frozen camera", frozen_camera, ("frozen_images_are_believed",)),
    Case("14", "frozen joints", frozen_joints, ("frozen_joints_are_believed",)),
    Case("15", "camera drops and lag", drops, ("skew_is_ignored",)),
    Case("16", "wrong images", wrong_images, ("images_are_believed",)),
    Case("17", "wrong joint states", wrong_joints, ("joints_by_position",)),
)
