# SPDX-License-Identifier: Apache-2.0
"""All removed protections by name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from harness.mutants import replace
from harness.mutants.datasets import DATASETS
from harness.mutants.learning import LEARNING
from harness.mutants.owners import OWNERS

_ARM = "robot_bringup.core"
_VLA = "vla_policy.core"
_COMMON = "whetstone_common.core"
_STEERING = "vla_policy.core.steering"
_METHODS = "rl_methods"


def chunk_never_ends() -> None:
    """A chunk in hand plays to its last step, however long nobody has spoken: neither steps nor time bound it."""
    replace(f"{_ARM}.chunk_queue:ChunkQueue._over", lambda _self, _playing, _slot: False)
    chunk_never_expires()


def chunk_never_expires() -> None:
    """Only the number of its steps bounds a chunk, however long ago it was taken in."""
    import math

    def take(self: Any, chunk: Any, next_slot_ns: int, now_s: float) -> None:
        original(self, chunk, next_slot_ns, now_s)
        self._expires_s = math.inf

    original = replace(f"{_ARM}.playback:Playback.take", take)


def lost_policy_may_return() -> None:
    """Losing the policy only holds, so its return moves the arm without a person."""
    from whetstone_common.core.reason import Reason

    def stop(self: Any, reason: Reason, detail: str = "") -> Any:
        return self.hold(reason, detail) if reason is Reason.POLICY_LOST else original(self, reason, detail)

    original = replace(f"{_ARM}.state_machine:ArmState.stop", stop)


def any_chunk_is_welcome() -> None:
    """A chunk plays whoever sent it, whatever it answers and however old it is."""
    from robot_bringup.core.chunk_queue import ChunkAcceptance

    replace(f"{_ARM}.chunk_queue:ChunkQueue.judge", lambda _self, _chunk, **_where: ChunkAcceptance.TAKEN)


def second_source_is_welcome() -> None:
    """Two policies take turns."""
    replace(f"{_ARM}.chunk_queue:ChunkQueue._is_second", lambda _self, _chunk: False)


def chunk_is_not_checked() -> None:
    """Content of a chunk is believed."""
    replace("robot_bringup.core.chunk:check_chunk", lambda *_args: None)


def no_limits() -> None:
    """The wish goes to the drives."""
    from robot_bringup.core import safety

    def limit(wish: Any, opening: float, last: Any, limits: Any, dt_s: float, tcp: Any) -> Any:  # noqa: ARG001
        motion = safety.Motion(wish, (wish - last.position) / dt_s, opening)
        return safety.Limited(motion, safety.LimitVerdict.PASSED)

    replace(f"{_ARM}.safety:limit", limit)
    replace(f"{_ARM}.safety:too_far", lambda *_args: False)


def estop_is_ignored() -> None:
    """The button does nothing."""
    replace(f"{_ARM}.state_machine:ArmState.press_estop", lambda self: self)


def estop_is_not_latched() -> None:
    """Releasing the button is enough to go on."""
    from robot_bringup.core.state_machine import Mode
    from whetstone_common.core.reason import Reason

    def release(self: Any) -> Any:
        from dataclasses import replace as changed

        return changed(self, mode=Mode.RUNNING, reason=Reason.NONE, detail="", estop=False)

    replace(f"{_ARM}.state_machine:ArmState.release_estop", release)


def only_latched_estops_are_heard() -> None:
    """A button whose QoS is volatile does nothing."""
    from whetstone_common.nodes import qos

    replace("whetstone_common.nodes.qos:ESTOP", qos.ESTOP[:1])  # type: ignore[arg-type]


def last_button_wins() -> None:
    """Whatever any button says is what counts."""

    def update(self: Any, source: str, order: int, *, pressed: bool) -> None:  # noqa: ARG001
        for each in self._sources.values():
            each.pressed = False
        original(self, source, order, pressed=pressed)

    original = replace(f"{_ARM}.estop:EstopSources.update", update)


def surroundings_are_ignored() -> None:
    """Nobody looks who else commands the arm."""
    from whetstone_common.core.reason import Reason

    replace("robot_bringup.nodes.arm_surroundings:ArmSurroundings.obstacle", lambda _self: (Reason.NONE, ""))


def namesakes_are_ignored() -> None:
    """A second process of one name starts, and neither says a word."""
    replace("whetstone_common.nodes.namesake:Namesake.text", lambda _self: "")


def operator_is_not_needed() -> None:
    """An episode runs whether the operator's device is there or not."""
    nodes = "robot_operation.nodes.episode_node:EpisodeNode._needed_nodes"
    replace(nodes, lambda self: list(self.param("watched_nodes")))


def clients_are_ignored() -> None:
    """A goal runs to its end for nobody."""
    replace("robot_operation.nodes.goal_client:GoalClient.is_gone", lambda _self: False)


def lost_person_is_not_noticed() -> None:
    """Silence and a stuck axis of an engaged person mean nothing."""
    replace(f"{_ARM}.takeover:Takeover.lost", lambda _self, _now_s: "")


def policy_goes_on_under_the_person() -> None:
    """The person is heard but the chunk in hand keeps playing."""
    from robot_bringup.core.takeover import InputResult

    replace(f"{_ARM}.takeover:Takeover.update", lambda _self, _sample, _now_s: InputResult.IGNORED)


def last_command_is_trusted() -> None:
    """After a stop the old target is taken up again wherever the arm is now."""
    from robot_bringup.core import safety

    def reseed(measured: Any, opening: float, last: Any, limits: Any, *, trusted: bool) -> Any:  # noqa: ARG001
        if last is None:
            return safety.seed(measured, opening, limits)
        return safety.Motion(last.position, 0.0 * last.position, last.opening)

    replace(f"{_ARM}.hold:reseed", reseed)


def frozen_joints_are_believed() -> None:
    """Joints that never change under fresh stamps are taken for an arm that stands."""
    replace(f"{_ARM}.watchdog:FrozenJoints.update", lambda *_args: False)


def frozen_images_are_believed() -> None:
    """The same picture again and again is taken for a quiet scene."""
    replace(f"{_VLA}.freshness:FreezeDetector.is_frozen", lambda _self: False)


def stamps_are_believed() -> None:
    """Stamps of zero and from the future are taken as they come."""

    def accept(self: Any, stamp_ns: int, now_ns: int) -> bool:  # noqa: ARG001
        self.newest_ns = stamp_ns
        return True

    replace(f"{_VLA}.freshness:StampGuard.accept", accept)
    age_is_ignored()


def old_parts_are_used() -> None:
    """The last part of a silent stream is used for ever: whatever its age, the others, and what was asked for.

    Three checks of observation_node and one of the arm stand behind each other here, so all four go.
    """

    def snapshot(self: Any, streams: Any, *, not_before_ns: int, **rest: Any) -> Any:  # noqa: ARG001
        return original(self, streams, not_before_ns=0, **rest)

    any_chunk_is_welcome()
    age_is_ignored()
    skew_is_ignored()
    original = replace(f"{_VLA}.synchroniser:Synchroniser.snapshot", snapshot)


def age_is_ignored() -> None:
    """Age by stamp and by silence are not looked at."""

    def judge(self: Any, name: str, part: Any, *rest: Any) -> Any:
        return original(self, name, part, *rest) if part is None else None

    original = replace(f"{_VLA}.synchroniser:Synchroniser._judge", judge)
    replace(f"{_VLA}.synchroniser:Synchroniser._aged", lambda *_args: None)


def watchdogs_follow_the_clock() -> None:
    """The arm's time comes from the ROS clock, which a simulation may stop."""
    from robot_bringup.core.outputs import Now

    def now(self: Any, _steady_s: float | None = None) -> Now:
        ros_ns = self.get_clock().now().nanoseconds
        return Now(ros_ns / 1e9, ros_ns)

    replace("robot_bringup.nodes.arm_node:ArmNode._now", now)


def signals_are_not_caught() -> None:
    """The second Ctrl-C cuts the stop short."""
    replace("whetstone_common.nodes.stopping:Stop._on_signal", _default_signal)


def _default_signal(_self: Any, _number: int, _frame: Any) -> None:
    raise SystemExit(1)


def any_contract_fits() -> None:
    """Another robot's policy may be armed for."""
    replace("whetstone_common.core.robot:Robot.contract_problems", lambda _self, _contract: [])


def silence_is_ignored() -> None:
    """No time-out ever expires."""
    replace(f"{_ARM}.watchdog:Timeout.expired", lambda _self, _now_s: False)


def nothing_is_guarded() -> None:
    """An exception in a callback goes its own way."""

    def guarded(self: Any, callback: Any) -> Any:
        name = getattr(callback, "__name__", type(callback).__name__)

        @functools.wraps(callback)
        def bare(*args: Any, **kwargs: Any) -> Any:
            self._guard.maybe_fail(name)
            return callback(*args, **kwargs)

        return bare

    replace("whetstone_common.nodes.node:WhetstoneNode.guarded", guarded)


def sick_nodes_are_ignored() -> None:
    """An episode goes on whatever becomes of the nodes that it needs."""
    replace("robot_operation.core.health:Health.problem", lambda _self, _now_s: "")


def holding_is_well() -> None:
    """An episode begins and goes on while a node that it needs holds."""
    replace("robot_operation.core.health:Health.unready", lambda _self: "")
    replace("robot_operation.core.health:Health.holding", lambda _self: {})


def any_words_may_be_said() -> None:
    """A goal's instruction is taken as it comes."""
    replace("robot_operation.nodes.episode_node:check_instruction", lambda words: words)
    replace("robot_operation.nodes.episode_runner:check_instruction", lambda words: words)


def any_words_are_shown() -> None:
    """Whatever comes as instruction is shown to the policy."""
    replace("vla_policy.nodes.observation_node:check_instruction", lambda words: words or "do something")


def words_are_not_compared() -> None:
    """What the policy is shown is taken for what the episode says."""
    replace("robot_operation.nodes.episode_instruction:EpisodeInstruction.problem", lambda _self, _instruction: "")


def own_pause_is_not_noticed() -> None:
    """After a hang of its own the arm node goes on where it was."""
    silence_is_ignored()
    chunk_never_expires()
    replace(f"{_ARM}.arm_motion:ArmMotion._notice_stall", lambda _self, _now: None)


def hold_is_a_wall() -> None:
    """Holding means to stop within one period, whatever the speed."""
    from robot_bringup.core import safety

    def brake(last: Any, limits: Any, dt_s: float) -> Any:  # noqa: ARG001
        return safety.Motion(last.position, 0.0 * last.velocity, last.opening)

    replace(f"{_ARM}.safety:brake", brake)


def stop_steps_back() -> None:
    """Stopping goes back to where a lagging arm is, instead of braking from the last command."""
    from robot_bringup.core import safety

    def brake(last: Any, limits: Any, dt_s: float) -> Any:  # noqa: ARG001
        return safety.Motion(last.position - 3.0 * last.velocity * dt_s, 0.0 * last.velocity, last.opening)

    replace(f"{_ARM}.safety:brake", brake)


def skew_is_ignored() -> None:
    """Parts of two moments are put together."""
    import dataclasses

    def snapshot(self: Any, streams: Any, *, limits: Any, **rest: Any) -> Any:
        return original(self, streams, limits=dataclasses.replace(limits, max_skew_ns=10**18), **rest)

    original = replace(f"{_VLA}.synchroniser:Synchroniser.snapshot", snapshot)


def images_are_believed() -> None:
    """Pixels are made of whatever came, in whatever length."""
    import numpy as np

    def believe(height: int, width: int, encoding: str, step: int, data: Any, rules: Any) -> Any:  # noqa: ARG001
        flat = np.frombuffer(data, dtype=np.uint8) if len(data) else np.zeros(1, dtype=np.uint8)
        return np.resize(flat, (height, width, 3))

    replace(f"{_VLA}.images:check_raw", believe)
    replace(f"{_VLA}.images:raw_to_rgb", believe)


def joints_by_position() -> None:
    """Names are not read; the n-th number is the n-th joint."""
    import numpy as np

    from whetstone_common.core import robot_joints as joints

    def by_position(self: Any, message: Any, now_s: float) -> Any:  # noqa: ARG001
        values = np.resize(np.array(message.positions, dtype=np.float64), 8)
        return joints.JointSample(values[:7], float(values[7]), message.stamp_ns, groups=(tuple(range(7)),))

    replace("whetstone_common.core.robot_joints:RobotJoints.update", by_position)


def parts_are_not_merged() -> None:
    """A message that does not hold all joints is of no use."""
    from whetstone_common.core.joint_parts import JointStateError

    def take(self: Any, message: Any, now_ns: int) -> bool:
        if not set(self._joints) <= set(message.names):
            raise JointStateError("missing", "a joint is missing")
        return original(self, message, now_ns)

    original = replace(f"{_COMMON}.joint_parts:JointParts.take", take)


def age_of_parts_is_ignored() -> None:
    """All joints count as received when any of them was."""

    def heard_ns(self: Any, joints: Any) -> list[int]:
        newest_ns = max(original(self, joints))
        return [newest_ns] * len(joints)

    original = replace(f"{_COMMON}.joint_parts:JointParts.heard_ns", heard_ns)


def takeovers_are_believed() -> None:
    """Whatever a device says, in whatever mode and of whatever time, drives the arm."""
    from robot_bringup.core.takeover import TakeoverMode

    replace(f"{_ARM}.takeover:TakeoverSample.problem", lambda _self: "")
    replace(f"{_ARM}.arm:Arm._time_problem", lambda _self, _sample, _now: "")
    replace(f"{_ARM}.takeover:TakeoverMode._missing_", classmethod(lambda _cls, _value: TakeoverMode.VELOCITY))


def devices_are_never_forgotten() -> None:
    """Who drove first keeps the place for ever."""
    replace(f"{_ARM}.takeover:Takeover._forget_silent", lambda _self, _now_s: None)


def clocks_are_not_compared() -> None:
    """A stamp is only a number."""
    replace(f"{_COMMON}.clock:other_clock", lambda _stamp_ns, _now_ns, **_rest: "")


def any_driver_is_believed() -> None:
    """Two publishers of one stream take turns."""
    replace(f"{_COMMON}.sources:Ownership.problem", lambda _self, _source, _now_ns: "")


def clock_may_go_back() -> None:
    """Time that runs backwards is not noticed."""
    replace(f"{_ARM}.watchdog:ClockJump.update", lambda _self, _stamp_ns: 0.0)


def bytes_are_believed() -> None:
    """A set of weights is taken for what its manifest says, whatever its bytes are."""
    replace(f"{_METHODS}.common.weights:check_bytes", lambda *_args: None)


def gaps_are_filled() -> None:
    """A set is complete with its last piece; what lacks is nothing."""
    bytes_are_believed()
    parts: dict[Any, dict[int, bytes]] = {}

    def offer(self: Any, manifest: Any, piece: int, pieces: int, data: bytes) -> bytes | None:  # noqa: ARG001
        mine = parts.setdefault(manifest, {})
        mine[piece] = data
        if piece < pieces - 1:
            return None
        size = len(next(iter(mine.values())))
        whole = b"".join(mine.get(number, bytes(size)) for number in range(pieces))
        return whole[: manifest.total_bytes]

    replace(f"{_METHODS}.common.weights:Assembler.offer", offer)


def weights_are_not_tried() -> None:
    """Weights decide as soon as they fit, whatever they would do."""
    replace(f"{_METHODS}.expo.policy:_try_expo", lambda *_args: None)


def any_version_is_newer() -> None:
    """Weights decide in the order in which they come."""

    def unpack(*args: Any, **rest: Any) -> Any:
        return original(*args, **rest | {"newer_than": -1})

    def take(self: Any, ready: Any) -> None:
        self._kept = [ready]
        self._method.install(ready)

    original = replace(f"{_STEERING}.weight_store:unpack", unpack)
    replace(f"{_STEERING}.weight_store:WeightStore.take", take)


def weights_are_unpickled() -> None:
    """What is not safetensors is tried as a pickle."""
    import pickle  # noqa: TID251 - this is what must never happen

    def architecture(data: bytes, manifest: Any) -> Any:
        try:
            return original(data, manifest)
        except ValueError:
            return pickle.loads(data)  # noqa: S301

    original = replace(f"{_METHODS}.common.weights:_architecture", architecture)


def any_trainer_is_followed() -> None:
    """Weights are taken whoever publishes them."""
    replace("vla_policy.nodes.followed_publisher:FollowedPublisher.is_foreign", lambda _self, _source: False)


def signatures_are_not_read() -> None:
    """A key is there and nobody looks."""

    def unpack(*args: Any, **rest: Any) -> Any:
        return original(*args, **rest | {"key": b""})

    original = replace(f"{_STEERING}.weight_store:unpack", unpack)


def room_is_not_looked_at() -> None:
    """Recording is ready whatever the disk is."""
    replace("experience.core.recording.storage:Storage.problem", lambda _self: "")


MUTATIONS: dict[str, Callable[[], None]] = LEARNING | {
    mutation.__name__: mutation
    for mutation in (
        any_chunk_is_welcome,
        age_of_parts_is_ignored,
        any_contract_fits,
        any_driver_is_believed,
        any_trainer_is_followed,
        any_version_is_newer,
        any_words_are_shown,
        any_words_may_be_said,
        bytes_are_believed,
        chunk_is_not_checked,
        chunk_never_ends,
        clocks_are_not_compared,
        devices_are_never_forgotten,
        clients_are_ignored,
        clock_may_go_back,
        estop_is_ignored,
        estop_is_not_latched,
        frozen_images_are_believed,
        frozen_joints_are_believed,
        gaps_are_filled,
        hold_is_a_wall,
        holding_is_well,
        images_are_believed,
        joints_by_position,
        last_button_wins,
        last_command_is_trusted,
        lost_person_is_not_noticed,
        lost_policy_may_return,
        namesakes_are_ignored,
        no_limits,
        nothing_is_guarded,
        old_parts_are_used,
        only_latched_estops_are_heard,
        operator_is_not_needed,
        own_pause_is_not_noticed,
        parts_are_not_merged,
        policy_goes_on_under_the_person,
        room_is_not_looked_at,
        second_source_is_welcome,
        sick_nodes_are_ignored,
        signatures_are_not_read,
        silence_is_ignored,
        skew_is_ignored,
        signals_are_not_caught,
        stamps_are_believed,
        stop_steps_back,
        takeovers_are_believed,
        surroundings_are_ignored,
        watchdogs_follow_the_clock,
        weights_are_not_tried,
        weights_are_unpickled,
        words_are_not_compared,
    )
}
MUTATIONS |= DATASETS | OWNERS
