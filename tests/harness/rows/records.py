# SPDX-License-Identifier: Apache-2.0
"""Rows of what is stored: damage on the disk, a clock that went back, a recorder that has only just started."""

from __future__ import annotations

from typing import Any

from experience.core.codec import decode
from experience.core.spool.record import MAGIC
from fakes.rl_episodes import plain_episode
from harness.course import EPOCH, STEPS, Course
from harness.oracle import Verdict
from harness.rows.case import Case, check, watch_for
from harness.rows.learning import stored
from harness.until import NotReachedError, until
from harness.world import World
from whetstone_common.core.epochs import SILENT_S

_PATIENCE_S = 60.0
_DAMAGED = (5, 6, 9)  # of 12 transitions


def spool_is_damaged(world: World, seed: int, mutation: str) -> Verdict:  # noqa: ARG001
    """Row 70: three records in the middle of the spool are damaged; the others are learnt from, the loss is said."""
    course = Course(world)
    course.store(stored(4))
    (file,) = (course.folder / "transitions").glob("*.wsp")
    whole = file.read_bytes()
    starts = [i for i in range(len(whole)) if whole[i : i + len(MAGIC)] == MAGIC]
    data = bytearray(whole)
    for number in _DAMAGED:
        place = slice(starts[number] + 40, starts[number] + 140)
        data[place] = bytes(255 - byte for byte in data[place])
    file.write_bytes(data)
    course.start_node(mutation)
    status = world.watcher.wait_state("transition_node", "READY", _PATIENCE_S)
    course.start_learner()
    lost, left = len(_DAMAGED), len(starts) - len(_DAMAGED)
    problems = check(
        status.counters.get("records_damaged") == lost and f"{lost} stored records are damaged" in status.detail,
        f"{status.counters.get('records_damaged')} said to be damaged: {status.detail!r}",
    )
    problems += check(file.read_bytes() == bytes(data), "bytes were taken off the disk")
    return problems + _reached(course, {"windows": left, "transitions_lost": lost, "through": len(starts)})


def clock_went_back(world: World, seed: int, mutation: str) -> Verdict:  # noqa: ARG001
    """Row 71: the arm starts again with a smaller number, then with a larger one; every episode is stored once."""
    course = Course(world)
    course.start_node(mutation)
    world.wait_ready("transition_node")
    course.wait_heard()
    records: list[Any] = []
    for epoch in (EPOCH + 900, EPOCH, EPOCH + 500):
        watch_for(SILENT_S + 0.3)  # the arm before is gone
        records = plain_episode(STEPS, epoch=epoch)
        course.play(records)
    course.play(plain_episode(STEPS, epoch=EPOCH))  # replayed: it is in the ledger
    course.play(records)
    watch_for(1.0)
    epochs = [decode(record.payload).epoch for record in course.stored()]
    wanted = [epoch for epoch in (EPOCH + 900, EPOCH, EPOCH + 500) for _ in range(3)]
    return check(epochs == wanted, f"stored are transitions of {epochs}, expected {wanted}")


def recorder_has_just_started(world: World, seed: int, mutation: str) -> Verdict:  # noqa: ARG001
    """Row 72: who waits until the recorder hears it loses nothing, however soon it speaks then."""
    course = Course(world)
    course.start_node(mutation)
    try:
        course.wait_heard(_PATIENCE_S)
    except NotReachedError as error:
        return Verdict((str(error),))
    for _ in range(3):
        course.play(course.next_episode(), pause_s=0.0)
    try:
        until(lambda: len(course.stored()) == 9, _PATIENCE_S, "three episodes are stored")
    except NotReachedError:
        return Verdict((f"{len(course.stored())} of 9 transitions are stored",))
    return Verdict()


def _reached(course: Course, wanted: dict[str, int]) -> Verdict:
    try:
        until(lambda: all(course.counter(name) == count for name, count in wanted.items()), _PATIENCE_S)
    except NotReachedError:
        return Verdict((f"{ {name: course.counter(name) for name in wanted} }, expected {wanted}",))
    return Verdict()


CASES = (
    Case("70", "a damaged record in the middle of the spool", spool_is_damaged, ("damage_ends_a_segment",)),
    Case("71", "a clock that went back between two starts", clock_went_back, ("epochs_are_times",)),
    Case("72", "a recorder that has just started", recorder_has_just_started, ("recorder_names_nobody",)),
)
