# SPDX-License-Identifier: Apache-2.0
"""Rows of people and stopping: e-stop, takeover, lost teleoperation, and the way back."""

from __future__ import annotations

import random

from std_msgs.msg import Bool
from vla_interfaces.msg import Executed, Takeover
from vla_interfaces.srv import Reset, Resume

from harness.armlog import HUMAN, POLICY, Command, after, moved
from harness.cells import MAX_STEP_RAD, PERIOD_S, Cell, arm_cell, full_cell
from harness.oracle import CI_ALLOWANCE, StopLimits, Verdict, judge_reason, judge_stop
from harness.rows.case import Case, always, check, no_motion, now_ns, statuses, total, watch_for
from harness.rows.chunks import stop_and_recover
from harness.schedule import Fault
from harness.until import until
from harness.watcher import LATCHED
from harness.world import World

ESTOP_S = 0.05
_TWIST = [0.08, 0.0, 0.0, 0.0, 0.0, 0.0]
# Three times in a row, and the way back to where the policy is at home must stay shorter than what is refused.
_GENTLE = [0.03, 0.0, 0.0, 0.0, 0.0, 0.0]


def press(cell: Cell, *, pressed: bool) -> int:
    """Push or release the button; returns CLOCK_MONOTONIC before."""
    return cell.world.watcher.say(Bool(data=pressed), "estop", LATCHED)


def recover_from_estop(cell: Cell) -> Verdict:
    """Nothing but release and reset leads back; release alone, or reset alone, does not."""
    watcher = cell.world.watcher
    pressed_reset = watcher.call(Reset, "arm_node/reset")
    at_ns = press(cell, pressed=False)
    verdict = check(not pressed_reset.success, "reset was accepted while the button was pressed")
    verdict += no_motion(cell, at_ns, "motion after releasing the button", 0.5)
    early = watcher.call(Resume, "arm_node/resume")
    verdict += check(not early.success, "resume was accepted before a reset")
    if verdict.ok:
        cell.reset()
        watcher.wait_state("arm_node", "READY", 5.0)
    return verdict


def estop(world: World, seed: int, mutation: str) -> Verdict:
    """Row 44: mid-chunk, during inference, while the policy floods, twice, and while idle."""
    cell = arm_cell(world, mutation=mutation, relay=[Fault("duplicate", copies=15, delay_s=0.01)], seed=seed)
    cell.warm_up()
    verdicts = []
    for moment, delays in (("mid-chunk", [0.02]), ("during inference", [0.25])):
        world.watcher.tell("fake_policy", delays_s=delays)
        cell.resume()
        cell.wait_moving()
        cell.wait_random_moment(seed, playing=moment == "mid-chunk")
        verdicts.append(_pressed(cell, moment, seed))
        if verdicts[-1].problems:
            return total(verdicts)
    at_ns = press(cell, pressed=True)
    world.watcher.wait_state("arm_node", "STOPPED", 2.0, after_ns=at_ns, reason="ESTOP")
    refused = world.watcher.call(Resume, "arm_node/resume")
    verdicts.append(check(not refused.success, "resume was accepted while the button was pressed (idle)"))
    verdicts.append(recover_from_estop(cell))
    return total(verdicts) + always(cell)


def _pressed(cell: Cell, moment: str, seed: int) -> Verdict:
    # During an inference the arm may already hold; what counts is that nothing new moves it.
    fault_ns = press(cell, pressed=True)
    watch_for(0.3)
    press(cell, pressed=True)
    watch_for(0.7)
    limits = StopLimits(max_step_rad=MAX_STEP_RAD, timeout_s=ESTOP_S, period_s=PERIOD_S)
    verdict = judge_stop(cell.commands(), fault_ns, limits)
    late = after(cell.policy_commands_after(fault_ns), fault_ns + int(limits.last_motion_command_s * 1e9))
    verdict += check(not late, f"{moment} (seed {seed}): {len(late)} commands after the e-stop")
    verdict += judge_reason(statuses(cell), "arm_node", "ESTOP", fault_ns)
    return verdict if verdict.problems else verdict + recover_from_estop(cell)


def estop_without_supervisor(world: World, seed: int, mutation: str) -> Verdict:
    """Row 44: the node that runs the episodes hangs; the button needs nobody but the arm node."""
    cell = full_cell(world, mutations={"arm_node": mutation})
    cell.run_episode()
    cell.wait_random_moment(seed)
    cell.parts["episode_node"].stop()
    cell.wait_moving()
    fault_ns = press(cell, pressed=True)
    watch_for(1.0)
    limits = StopLimits(max_step_rad=MAX_STEP_RAD, timeout_s=ESTOP_S, period_s=PERIOD_S)
    verdict = judge_stop(cell.commands(), fault_ns, limits) + judge_reason(
        statuses(cell), "arm_node", "ESTOP", fault_ns
    )
    if not verdict.problems:
        verdict += recover_from_estop(cell)
        woken_ns = cell.parts["episode_node"].cont()
        verdict += no_motion(cell, woken_ns, "the episode went on after the supervisor woke up", 1.5)
    return verdict + always(cell)


def takeover_during_inference(world: World, seed: int, mutation: str) -> Verdict:
    """Row 45: the person wins within a period, the chunk in flight is dropped, and labels say who acted."""
    cell = arm_cell(world, mutation=mutation, policy={"delays_s": [0.3]}, arm={"chunk_timeout_s": 4.0})
    executed = world.watcher.listen(Executed, "executed")
    heard = world.watcher.listen(Takeover, "takeover")
    world.fake("fake_teleop", parameters={"twist": _TWIST})
    world.wait_ready("fake_teleop")
    cell.run()
    verdicts = []
    for number in range(2):
        cell.wait_random_moment(seed + number, playing=False)
        verdicts.append(_taken_over(cell, heard))
        if verdicts[-1].problems:
            return total(verdicts)
        cell.wait_moving()
    return total(verdicts) + labels_agree(cell, [msg for _, msg in executed]) + always(cell) + cell.judge_smooth()


def _taken_over(cell: Cell, heard: list) -> Verdict:
    watcher, known = cell.world.watcher, len(heard)
    requests = max(c.request_id for c in cell.commands())
    watcher.tell("fake_teleop", engaged=True)
    until(lambda: any(msg.engaged for _, msg in heard[known:]), 5.0, "a takeover message")
    taken_ns = next(t for t, msg in heard[known:] if msg.engaged)
    watch_for(1.0)
    released_ns = now_ns()
    watcher.tell("fake_teleop", engaged=False)
    held = [c for c in after(cell.commands(), taken_ns) if c.t_ns < released_ns]
    human = [c.t_ns for c in held if c.source == HUMAN]
    wins_s = (human[0] - taken_ns) / 1e9 if human else float("inf")
    allowed_s = CI_ALLOWANCE * (0.05 + 2 * PERIOD_S)
    policy = [c for c in held if c.source == POLICY and c.t_ns > taken_ns + int(allowed_s * 1e9)]
    verdict = check(
        wins_s <= allowed_s, f"the person won after {wins_s:.3f} s, allowed {allowed_s:.3f}", takeover_s=wins_s
    )
    verdict += check(not policy, f"{len(policy)} policy commands under the person's hand")
    if verdict.problems:
        return verdict
    cell.wait_moving()
    stale = [c for c in cell.policy_commands_after(released_ns) if c.source == POLICY and c.request_id <= requests]
    return verdict + check(not stale, f"{len(stale)} commands of chunks from before the takeover")


def labels_agree(cell: Cell, executed: list[Executed]) -> Verdict:
    """Executed says HUMAN exactly where the arm log does."""
    actors = {Executed.HUMAN: HUMAN, Executed.POLICY: POLICY}
    published = {actors[msg.actor] for msg in executed if msg.actor in actors}
    logged = {c.source for c in cell.commands()} & {HUMAN, POLICY}
    return check(published == logged, f"executed says {published}, the arm log says {logged}")


def teleop_is_lost(world: World, seed: int, mutation: str) -> Verdict:
    """Row 46: killed, hung, and an axis that sticks; the arm holds and the policy does not take over."""
    cell = arm_cell(world, mutation=mutation, arm={"takeover_stuck_s": 1.0, "chunk_timeout_s": 4.0})
    teleop = world.fake("fake_teleop", parameters={"twist": _GENTLE})
    world.wait_ready("fake_teleop")
    cell.run()
    verdicts = []
    for how in random.Random(seed).sample(["stuck", "hang", "kill"], 3):  # noqa: S311
        world.watcher.tell("fake_teleop", engaged=True, swing=how != "stuck")
        engaged_ns = now_ns()
        if how != "stuck":
            cell.wait_moving(HUMAN)
        fault_ns = engaged_ns if how == "stuck" else {"kill": teleop.kill9, "hang": teleop.stop}[how]()
        verdicts.append(_lost(cell, how, fault_ns, 1.0 if how == "stuck" else 0.2))
        if verdicts[-1].problems:
            return total(verdicts)
        teleop.cont()
        if how == "kill":
            teleop = world.fake("fake_teleop", parameters={"twist": _GENTLE})
            world.watcher.wait_state("fake_teleop", "READY", 20.0, after_ns=now_ns())
        else:
            world.watcher.tell("fake_teleop", engaged=False)
        stop_and_recover(cell)
        cell.resume()
        cell.wait_moving()
    return total(verdicts) + always(cell)


def _lost(cell: Cell, how: str, fault_ns: int, noticed_s: float) -> Verdict:
    watch_for(noticed_s + 1.5)
    limits = StopLimits(max_step_rad=MAX_STEP_RAD, period_s=PERIOD_S, open_loop_s=noticed_s)
    log = cell.commands()
    verdict = judge_stop(log, fault_ns, limits)
    policy = [c for c in after(log, fault_ns + int(limits.last_motion_command_s * 1e9)) if c.source == POLICY]
    verdict += check(not policy, f"{how}: the policy took over ({len(policy)} commands)")
    return verdict + judge_reason(
        statuses(cell), "arm_node", "TAKEOVER_LOST", fault_ns, within_s=noticed_s + 1.0, allowance=1.0
    )


def pushed_while_stopped(world: World, seed: int, mutation: str) -> Verdict:
    """Row 43: the arm is moved by 0.3 rad while it is stopped; the next command is where it is now."""
    cell = arm_cell(world, mutation=mutation)
    cell.run()
    cell.wait_random_moment(seed)
    press(cell, pressed=True)
    world.watcher.wait_state("arm_node", "STOPPED", 5.0, reason="ESTOP")
    world.watcher.tell("fake_arm", braked=True)
    watch_for(0.5)
    before = cell.drives()[-1].values
    world.watcher.tell("fake_arm", push=[0.3] + [0.0] * 7)
    watch_for(0.3)
    verdict = recover_from_estop(cell)
    world.watcher.tell("fake_policy", amplitude_rad=0.0)
    resumed_ns = now_ns()
    cell.resume()
    until(lambda: after(cell.commands(), resumed_ns), 10.0, "the first command after the resume")
    world.watcher.tell("fake_arm", braked=False)
    first = after(cell.commands(), resumed_ns)[0]
    distance = first.values[0] - before[0]
    off = abs(distance - 0.3)
    return verdict + check(
        off <= MAX_STEP_RAD, f"first command is {off:.3f} rad from where the arm is", first_command_off_rad=off
    )


def paused_while_lagging(world: World, seed: int, mutation: str) -> Verdict:
    """Row 43: a pause while the arm lags behind its command brakes forward and never steps back."""
    cell = arm_cell(world, mutation=mutation)
    world.watcher.tell("fake_arm", max_speed=0.12)
    cell.run()
    cell.wait_random_moment(seed)
    at_ns = now_ns()
    cell.pause()
    watch_for(1.0)
    log = cell.commands()
    back = backward_step_rad(log, at_ns)
    return check(back <= 1e-4, f"a step back of {back:.4f} rad on pause", backward_step_rad=back) + cell.judge_smooth()


def backward_step_rad(log: list[Command], at_ns: int) -> float:
    """Largest step after a moment against the direction in which the joint went at that moment."""
    before = moved([c for c in log if c.t_ns <= at_ns])[-2:]
    if len(before) < 2:
        return float("nan")
    way = [b - a for a, b in zip(before[0].values, before[1].values, strict=True)]
    worst = 0.0
    rest = [before[1], *after(log, before[1].t_ns)]
    for old, new in zip(rest, rest[1:], strict=False):
        for direction, a, b in zip(way, old.values, new.values, strict=True):
            if direction * (b - a) < 0.0:
                worst = max(worst, abs(b - a))
    return worst


CASES = (
    Case(
        "43",
        "pushed by 0.3 rad while stopped",
        pushed_while_stopped,
        ("last_command_is_trusted",),
        quick=True,
    ),
    Case("43", "pause while lagging", paused_while_lagging, ("stop_steps_back",)),
    Case("44", "e-stop", estop, ("estop_is_ignored", "estop_is_not_latched"), quick=True),
    Case("44", "e-stop with a hung supervisor", estop_without_supervisor, ("estop_is_ignored",), cores=4),
    Case(
        "45",
        "takeover during inference",
        takeover_during_inference,
        ("policy_goes_on_under_the_person",),
    ),
    Case("46", "teleoperation is lost", teleop_is_lost, ("lost_person_is_not_noticed",), quick=True),
)
