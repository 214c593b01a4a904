# SPDX-License-Identifier: Apache-2.0
"""Rows of death and hang: somebody is killed or stopped while the arm moves."""

from __future__ import annotations

from vla_interfaces.msg import EpisodeEvent, Reward

from harness.armlog import read_lines
from harness.cells import OPEN_LOOP_S, SIM_JOINT_TIMEOUT_S, Cell, arm_cell, full_cell, ring_cell, start_camera
from harness.oracle import Verdict, judge_reason
from harness.rows.case import Case, always, check, no_motion, now_ns, statuses, underrun_then_lost, watch_for
from harness.until import NotReachedError, until
from harness.world import World
from whetstone_common.core.enums import Outcome

_HANG_S = 2.5
_JOINT_TIMEOUT_S = 0.2


def policy_is_killed(world: World, seed: int, mutation: str) -> Verdict:
    """Row 1: the chunk in hand plays for at most its open loop, and a restart moves nothing."""
    cell = arm_cell(world, mutation=mutation)
    cell.run()
    cell.wait_random_moment(seed)
    fault_ns = cell.parts["fake_policy"].kill9()
    verdict = underrun_then_lost(cell, fault_ns)
    again_ns = now_ns()
    world.fake("fake_policy", name="again", parameters={"claim": "/fake_policy"})
    world.watcher.wait_state("again", "READY", 60.0, after_ns=again_ns)
    return verdict + no_motion(cell, again_ns, "motion after the policy came back, without a resume", 1.5)


def vla_node_is_killed(world: World, seed: int, mutation: str) -> Verdict:
    """Row 1 in the whole ring."""
    cell = ring_cell(world, mutations={"arm_node": mutation})
    cell.run()
    cell.wait_random_moment(seed)
    fault_ns = cell.parts["vla_node"].kill9()
    verdict = underrun_then_lost(cell, fault_ns)
    again_ns = now_ns()
    world.node("vla_policy", "vla_node", parameters={"backend": "fake", "fake_value": 0.0}, name="vla_again")
    world.watcher.wait_state("vla_node", "READY", 60.0, after_ns=again_ns)
    return verdict + no_motion(cell, again_ns, "motion after vla_node came back, without a resume")


def policy_hangs(world: World, seed: int, mutation: str) -> Verdict:
    """Row 8: as a kill; what it says when it wakes moves nothing."""
    cell = arm_cell(world, mutation=mutation)
    cell.run()
    cell.wait_random_moment(seed)
    fault_ns = cell.parts["fake_policy"].stop()
    verdict = underrun_then_lost(cell, fault_ns)
    again_ns = cell.parts["fake_policy"].cont()
    return verdict + no_motion(cell, again_ns, "motion after the policy woke up, without a resume", 1.5)


def arm_node_hangs(world: World, seed: int, mutation: str) -> Verdict:
    """Row 8: the drives stop by themselves; on waking, nothing from before is played."""
    cell = arm_cell(world, mutation=mutation)
    cell.run()
    cell.wait_random_moment(seed)
    fault_ns = cell.parts["arm_node"].stop()
    until(lambda: drive_timeouts(cell, fault_ns), 5.0, "drives time out")
    stop_s = (drive_timeouts(cell, fault_ns)[0] - fault_ns) / 1e9
    watch_for(_HANG_S)
    woken_ns = cell.parts["arm_node"].cont()
    before = max(command.request_id for command in cell.commands() if command.t_ns <= woken_ns)
    watch_for(1.5)
    replayed = [c for c in cell.policy_commands_after(woken_ns) if c.request_id <= before]
    return (
        check(stop_s < 0.2, f"drives held only after {stop_s:.3f} s", drive_stop_s=stop_s)
        + check(not replayed, f"{len(replayed)} steps of chunks from before the hang were played")
        + always(cell)
    )


def drives_hang(world: World, seed: int, mutation: str) -> Verdict:
    """Row 8: without joint states the arm node stops and says so."""
    cell = arm_cell(world, mutation=mutation)
    cell.run()
    cell.wait_random_moment(seed)
    fault_ns = cell.parts["fake_arm"].stop()
    watch_for(1.5)
    verdict = cell.judge_own_stop(fault_ns, open_loop_s=_JOINT_TIMEOUT_S)
    said = judge_reason(statuses(cell), "arm_node", "JOINT_STATE_LOST", fault_ns)
    cell.parts["fake_arm"].cont()
    return verdict + said + no_motion(cell, now_ns(), "motion after joint states came back, without a reset")


def camera_is_killed(world: World, seed: int, mutation: str) -> Verdict:
    """Row 6: hold, name the stream; a restart leads to READY and moves nothing."""
    cell = ring_cell(
        world,
        mutations={"observation_node": mutation, "arm_node": mutation},
        parameters={"observation_node": {"obs_max_age_s": 0.15}},
    )
    cell.run()
    cell.wait_random_moment(seed)
    fault_ns = cell.parts["camera_wrist"].kill9()
    verdict = underrun_then_lost(cell, fault_ns, OPEN_LOOP_S + 0.15)
    verdict += judge_reason(
        statuses(cell), "observation_node", ("STALE_OBSERVATION", "MISSING_STREAM"), fault_ns, detail="wrist"
    )
    again_ns = now_ns()
    start_camera(world, "wrist", {"image_raw": "/camera/wrist/image_raw"}, {})
    world.watcher.wait_state("observation_node", "READY", 60.0, after_ns=again_ns)
    return verdict + no_motion(cell, again_ns, "motion after the camera came back, without a resume")


def simulator_is_killed(world: World, seed: int, mutation: str) -> Verdict:
    """Row 5: the arm stops for want of joint states; the episode is aborted with a reason and without a reward."""
    node = "arm_node" if mutation == "silence_is_ignored" else "episode_node"
    cell = full_cell(world, mutations={node: mutation})
    events = world.watcher.listen(EpisodeEvent, "episode")
    rewards = world.watcher.listen(Reward, "reward")
    result = cell.run_episode()
    cell.wait_random_moment(seed)
    fault_ns = cell.parts["sim_node"].kill9()
    watch_for(1.5)
    verdict = cell.judge_own_stop(fault_ns, open_loop_s=SIM_JOINT_TIMEOUT_S) + always(cell)
    verdict += judge_reason(statuses(cell), "arm_node", "JOINT_STATE_LOST", fault_ns)
    try:
        until(result.done, 6.0, "the goal ends")
    except NotReachedError as error:
        return verdict + Verdict((str(error),))
    outcome = result.result().result
    ended = [msg for _, msg in events if msg.event != EpisodeEvent.STARTED]
    aborted = bool(ended) and ended[-1].event == EpisodeEvent.ABORTED and bool(ended[-1].reason)
    return (
        verdict
        + check(list(outcome.outcomes) == [Outcome.ABORTED], f"outcomes {outcome.outcomes}: {outcome.message}")
        + check(aborted, f"no event that says aborted and why: {[(e.event, e.reason) for e in ended]}")
        + check(not rewards, f"{len(rewards)} rewards for an episode that was aborted")
    )


def callback_raises(world: World, seed: int, mutation: str) -> Verdict:
    """Row 9: a callback of the arm node raises mid-motion; it holds, says so, lives on, and a reset leads back."""
    callback = ("_on_chunk:4", "_control:400", "_on_housekeeping:80")[seed % 3]
    cell = arm_cell(world, mutation=mutation, env={"WHETSTONE_FAIL_CALLBACK": callback})
    cell.run()
    try:
        error = world.watcher.wait_state("arm_node", "ERROR", 15.0, reason="CALLBACK_EXCEPTION")
    except AssertionError as failed:
        return Verdict((f"{callback}: {failed}",))
    watch_for(1.0)
    verdict = cell.judge_stop(error.t_ns) + always(cell) + cell.judge_smooth()
    verdict += check(callback.split(":", maxsplit=1)[0] in error.detail, f"the culprit is not named: {error.detail!r}")
    verdict += check(error.counters.get("callback_exceptions") == 1, f"counters {error.counters}")
    verdict += check(cell.parts["arm_node"].alive, "arm_node ended")
    if not verdict.problems:
        cell.reset()
        cell.resume()
        cell.wait_moving()
    return verdict


def drive_timeouts(cell: Cell, since_ns: int) -> list[int]:
    """Moments at which the drives held for want of commands."""
    lines = read_lines(cell.drive_log)
    return [line["t_ns"] for line in lines if line["event"] == "timeout" and line["t_ns"] > since_ns]


CASES = (
    Case("1", "kill -9 policy", policy_is_killed, ("chunk_never_ends", "lost_policy_may_return"), quick=True),
    Case("1", "kill -9 vla_node in the ring", vla_node_is_killed, cores=4),
    Case("5", "kill -9 simulator", simulator_is_killed, ("silence_is_ignored", "sick_nodes_are_ignored"), cores=4),
    Case("6", "kill -9 one of two cameras", camera_is_killed, ("old_parts_are_used",)),
    Case("9", "a callback raises mid-motion", callback_raises, ("nothing_is_guarded",)),
    Case("8", "SIGSTOP policy", policy_hangs, ("chunk_never_ends",)),
    Case("8", "SIGSTOP arm_node", arm_node_hangs, ("own_pause_is_not_noticed",)),
    Case("8", "SIGSTOP drives", drives_hang, ("silence_is_ignored",)),
)
