# SPDX-License-Identifier: Apache-2.0
"""When the scripted person takes over, and when they hand back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robot_operation.core.scripted_intervention import InterventionConfig, ScriptedIntervention, SimState

FAR = SimState(
    task="pick_place",
    scene=1,
    tick=0,
    tcp=np.array([0.5, 0.0, 0.3]),
    object=np.array([0.5, 0.1, 0.02]),
    goal=np.array([0.4, -0.1, 0.02]),
    progress=0.05,
    opening=1.0,
    commanded=1.0,
)


def at(tick: int, **changes: object) -> SimState:
    return replace(FAR, tick=tick, **changes)  # type: ignore[arg-type]


def beside(tick: int, off_m: float, height_m: float = 0.02, **changes: object) -> SimState:
    return at(tick, tcp=FAR.object + np.array([off_m, 0.0, height_m]), **changes)


@pytest.mark.parametrize(
    ("state", "engaged"),
    [
        (at(1), False),
        (beside(1, 0.005), False),
        (beside(1, 0.04), True),  # goes down beside the object
        (beside(1, 0.04, 0.1), False),
        (beside(1, 0.025, commanded=0.0), True),  # closes beside it
        (beside(1, 0.01, commanded=0.0), False),
        (at(1, progress=0.5, commanded=1.0), True),  # lets go far from the goal
        (at(1, progress=0.5, commanded=0.0), False),
        (at(1, progress=0.5, commanded=1.0, object=FAR.goal), False),
    ],
)
def test_when_something_is_about_to_fail_expect_the_person_to_drive(state: SimState, engaged: bool) -> None:  # noqa: FBT001
    person = ScriptedIntervention(InterventionConfig())
    assert not person.update(at(0))
    assert person.update(state) is engaged


@pytest.mark.parametrize(
    ("task", "aside_m", "above_m", "commanded", "engaged"),
    [
        ("pick_place", 0.02, 0.03, 1.0, False),
        ("stack", 0.02, 0.03, 1.0, True),
        ("stack", 0.01, 0.03, 1.0, False),
        ("stack", 0.02, 0.03, 0.0, False),
        ("insert", 0.01, 0.03, 1.0, True),  # lets go on the bevel
        ("insert", 0.003, 0.03, 1.0, True),  # lets go above it
        ("insert", 0.003, 0.01, 1.0, False),
        ("insert", 0.02, 0.03, 0.0, True),  # goes down beside the socket
        ("insert", 0.01, 0.03, 0.0, False),  # the bevel leads it in
        ("insert", 0.02, 0.06, 0.0, False),
        ("insert", 0.2, 0.0, 0.0, False),  # just grasped, far from the socket
    ],
)
def test_when_an_object_is_put_down_expect_a_person_as_exact_as_the_task(
    task: str,
    aside_m: float,
    above_m: float,
    commanded: float,
    engaged: bool,  # noqa: FBT001
) -> None:
    person = ScriptedIntervention(InterventionConfig())
    held = FAR.goal + np.array([aside_m, 0.0, above_m])
    person.update(at(0, task=task))
    assert person.update(at(1, task=task, object=held, progress=0.7, commanded=commanded)) is engaged


def test_when_the_object_is_lifted_expect_the_arm_handed_back() -> None:
    person = ScriptedIntervention(InterventionConfig(min_ticks=3))
    person.update(at(0))
    assert person.update(beside(1, 0.04))
    held = {"progress": 0.5, "commanded": 0.0}
    assert person.update(at(2, **held))  # held, but still on the table
    assert person.update(at(2, object=FAR.object + np.array([0, 0, 0.05]), **held))  # not high enough
    high = FAR.object + np.array([0, 0, 0.09])
    assert person.update(at(3, object=high, **held))  # too soon
    assert not person.update(at(4, object=high, **held))


def test_when_a_release_was_about_to_fail_expect_the_person_to_finish_the_task() -> None:
    person = ScriptedIntervention(InterventionConfig())
    person.update(at(0))
    lifted = FAR.object + np.array([0, 0, 0.05])
    assert person.update(at(1, object=lifted, progress=0.5))
    assert person.update(at(2, object=lifted, progress=0.8, commanded=0.0))
    assert not person.update(at(3, progress=1.0))


def test_when_the_hand_hangs_over_a_held_object_expect_the_person_to_lift_it_and_hand_back() -> None:
    person = ScriptedIntervention(InterventionConfig(still_ticks=10, min_ticks=1))
    hangs = {"tcp": FAR.object, "progress": 0.5, "commanded": 0.0}
    assert not any(person.update(at(tick, **hangs)) for tick in range(10))
    assert person.update(at(10, **hangs))
    up = np.array([0, 0, 0.09])
    assert not person.update(at(11, **(hangs | {"tcp": FAR.object + up, "object": FAR.object + up})))


def test_when_the_hand_moves_on_expect_patience_to_begin_anew() -> None:
    person = ScriptedIntervention(InterventionConfig(still_ticks=10))
    step = np.array([0.005, 0.0, 0.0])
    assert not any(person.update(at(tick, tcp=FAR.tcp + tick * step)) for tick in range(40))


def test_when_a_busy_hand_makes_no_headway_expect_the_person_to_lose_patience() -> None:
    person = ScriptedIntervention(InterventionConfig(stall_ticks=20))
    step = np.array([0.005, 0.0, 0.0])
    assert not any(person.update(at(tick, tcp=FAR.tcp + tick * step)) for tick in range(20))
    assert person.update(at(20, tcp=FAR.tcp + 20 * step))


def test_when_there_is_headway_expect_patience_to_begin_anew() -> None:
    person = ScriptedIntervention(InterventionConfig(stall_ticks=20))
    step = np.array([0.005, 0.0, 0.0])
    gains = [at(tick, tcp=FAR.tcp + tick * step, progress=0.05 + 0.002 * tick) for tick in range(60)]
    assert not any(person.update(state) for state in gains)


def test_when_a_new_scene_begins_expect_nobody_to_drive() -> None:
    person = ScriptedIntervention(InterventionConfig())
    person.update(at(0))
    assert person.update(beside(1, 0.04))
    assert not person.update(at(0, scene=2))


def test_when_the_share_is_used_up_expect_the_person_to_watch_only() -> None:
    person = ScriptedIntervention(InterventionConfig(max_rate=0.1, free_ticks=3))
    for tick in range(200):
        person.update(beside(tick % 20, 0.04, scene=tick // 20))
    assert 0 < person.human_ticks <= 20 + 19  # the bound counts before a takeover, never within one


def test_when_a_tick_is_shown_twice_expect_it_counted_once() -> None:
    person = ScriptedIntervention(InterventionConfig())
    assert not person.update(at(1))
    assert not person.update(beside(1, 0.04))
    assert person.ticks == 1
