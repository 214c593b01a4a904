# SPDX-License-Identifier: Apache-2.0
"""What pages may ask of the node behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from operator_console.core.access import Access
from operator_console.core.audit_log import AuditLog
from operator_console.core.camera_model import CameraModel
from operator_console.core.candidates import DecisionView
from operator_console.core.commands import Command
from operator_console.core.library import Library
from operator_console.core.operator_seat import SeatView
from operator_console.core.page_message import PageMessage
from operator_console.core.playback import EpisodeReplay
from operator_console.core.run_order import RunOrder
from operator_console.core.runs import RunCatalog
from operator_console.core.session import Session
from whetstone_common.core.kinematics import Pose


@dataclass(frozen=True)
class PageState(SeatView):
    """What one page shows about control: the operator's seat, and what follows from it for this robot.

    Attributes:
        is_pressed: Whether this console presses the emergency stop.
        lost: Who was lost and why, until the emergency stop is released.
        speed_m_s: Speed of the TCP at full deflection (m/s).
    """

    is_pressed: bool
    lost: str
    speed_m_s: float


@dataclass(frozen=True)
class PolicyTrial:
    """What the policy is asked while no episode runs.

    Attributes:
        seed: Of its noise.
        n_candidates: Candidates to draw.
        edit_scale: Share of the trained bound of edits, 0..1.
    """

    seed: int
    n_candidates: int
    edit_scale: float


@dataclass(frozen=True)
class MethodOffer:
    """A method that a run can be started with: its name, what it does, and what it cannot do without."""

    name: str
    summary: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Offers:
    """What a run can be started with.

    Attributes:
        tasks: Names.
        methods: Those that `whetstone train` takes.
        default: Name of the method to begin with.
        problem: Why there are none on this computer; empty when there are.
    """

    tasks: tuple[str, ...] = ()
    methods: tuple[MethodOffer, ...] = ()
    default: str = ""
    problem: str = ""


@dataclass(frozen=True)
class ProcessView:
    """The run, or the export, that this console has started last.

    Attributes:
        name: Of the run, empty before there is one.
        text: What it does, in words.
        lines: Last lines of its output, the newest last.
        is_running: Whether it has not ended.
    """

    name: str = ""
    text: str = ""
    lines: tuple[str, ...] = ()
    is_running: bool = False


@dataclass(frozen=True, eq=False)
class CameraShot:
    """What a camera saw at a decision.

    Attributes:
        name: Of the camera.
        jpeg: The picture, empty when it cannot be read.
        model: How the camera sees, None when nothing can be drawn into its picture.
        optical: Pose of its optical frame in the base frame, None likewise.
        problem: Why nothing can be drawn, empty when something can.
    """

    name: str
    jpeg: bytes = b""
    model: CameraModel | None = None
    optical: Pose | None = None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class DecisionShot:
    """A decision, and what the cameras saw when it was made.

    Attributes:
        number: Grows with every decision.
        view: The decision, None when it cannot be drawn.
        cameras: Pictures.
        values: Of the episode so far: time since its first decision (s), and the critic's value of what was chosen.
        problem: Why it cannot be drawn.
        is_trial: Whether it was only asked for, and nothing moved.
    """

    number: int
    view: DecisionView | None = None
    cameras: tuple[CameraShot, ...] = ()
    values: tuple[tuple[float, float], ...] = ()
    problem: str = ""
    is_trial: bool = False


class LatestDecision(Protocol):
    """What the policy chose, for pages that look at it."""

    @property
    def is_prepared(self) -> bool:
        """Whether a decision that is made now will be shown with the pictures of all cameras."""

    def look(self) -> DecisionShot | None:
        """The newest decision since somebody looks, None before there is one."""


class Pictures(Protocol):
    """Cameras of the robot."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all cameras."""

    def picture(self, name: str) -> bytes | None:
        """Newest picture as JPEG or PNG, None while there is none; KeyError without such a camera."""


class Recordings(Protocol):
    """Recorded episodes on this disk; looks may come from any thread, commands are for the node's own."""

    library: Library

    def playback(self, collection: str, name: str) -> EpisodeReplay:
        """An episode to look at; PlaybackError when it cannot be read."""

    def picture(self, collection: str, name: str, camera: str, step: int) -> bytes | None:
        """JPEG of a step, None where there is none; PlaybackError when the episode cannot be read."""

    def view(self) -> ProcessView:
        """The newest export."""

    def relabel(self, collection: str, names: Sequence[str], outcome: str) -> str:
        """Give recordings another outcome; this and all below raise CommandRefusedError with a reason."""

    def trim(self, collection: str, names: Sequence[str], first_step: int, last_step: int | None) -> str:
        """Let only these steps of recordings count; 0 and None for all."""

    def delete(self, collection: str, names: Sequence[str]) -> str:
        """Move recordings aside."""

    def restore(self, collection: str, names: Sequence[str]) -> str:
        """Move deleted recordings back."""

    def export(self, collection: str, names: Sequence[str], dataset: str) -> str:
        """Begin to write recordings as a dataset."""


class Replays(Protocol):
    """Recorded motions on the arm."""

    @property
    def status(self) -> str:
        """What the newest replay does."""

    def start(self, key: str, viewer: str, collection: str, name: str, speed: float) -> Future[str]:
        """Replay an episode's motion at a share of its speed; the answer, or CommandRefusedError."""

    def stop(self, key: str, viewer: str) -> Future[str]:
        """End the replay; the answer, or CommandRefusedError."""


class Console(Protocol):
    """The node behind the pages; every method may be called from the server's thread."""

    access: Access
    log: AuditLog
    recordings: Recordings
    replays: Replays

    @property
    def session(self) -> Session:
        """What is known of the graph."""

    @property
    def cameras(self) -> Pictures:
        """Cameras of the robot."""

    @property
    def camera_period_s(self) -> float:
        """Between two pictures of a camera."""

    @property
    def decisions(self) -> LatestDecision:
        """What the policy chose."""

    @property
    def catalog(self) -> RunCatalog:
        """Runs on this disk."""

    def open_page(self, key: str, viewer: str) -> int:
        """A page has connected; returns the number of the connection."""

    def close_page(self, key: str, connection: int) -> None:
        """A connection has ended."""

    def hear(self, key: str, viewer: str, message: PageMessage) -> str:
        """Take a message of a page; why it was refused, empty when it was not."""

    def page_state(self, key: str) -> PageState:
        """What a page shows about control."""

    def set_speed(self, key: str, share: float) -> None:
        """Set the speed of a takeover, as a share of full speed.

        Raises:
            ControlError: The page is not in control.
        """

    def command(self, key: str, viewer: str, command: Command, words: str = "") -> Future[str]:
        """Carry a command of a page out; the answer, or CommandRefusedError."""

    def ask_policy(self, key: str, viewer: str, trial: PolicyTrial) -> Future[str]:
        """Ask what the policy would do here; the answer, or CommandRefusedError. The decision comes by itself."""

    def offers(self) -> Offers:
        """What a run can be started with; blocks until that is known, for some seconds at first."""

    def training(self) -> ProcessView:
        """The run that this console has started last."""

    def start_run(self, key: str, viewer: str, order: RunOrder) -> Future[str]:
        """Start a run; the answer, or CommandRefusedError."""

    def resume_run(self, key: str, viewer: str, name: str) -> Future[str]:
        """Go on with a run; the answer, or CommandRefusedError."""

    def stop_run(self, key: str, viewer: str) -> Future[str]:
        """Interrupt the run of this console; the answer, or CommandRefusedError."""

    def curate(self, key: str, viewer: str, named: str, act: Callable[[Recordings], str]) -> Future[str]:
        """Change recordings, as `named` in the log; the answer, or CommandRefusedError."""
