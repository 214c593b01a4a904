# SPDX-License-Identifier: Apache-2.0
"""Node of the operator console: serves a page, and does what the page in control commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from operator_console.core.access import Access, AccessError
from operator_console.core.audit_log import AuditLog
from operator_console.core.browser_device import BrowserDevice
from operator_console.core.commands import Command
from operator_console.core.control import ControlDesk, ControlError, LostOperator
from operator_console.core.operator_seat import OperatorSeat
from operator_console.core.page_message import PageMessage, PageRequest
from operator_console.core.run_order import RunOrder
from operator_console.core.runs import RunCatalog
from operator_console.core.session import Session
from operator_console.nodes.cameras import CameraStreams
from operator_console.nodes.command_desk import CommandDesk
from operator_console.nodes.commander import Answer, Commander
from operator_console.nodes.decision_watch import DecisionWatch
from operator_console.nodes.estop_button import EstopButton
from operator_console.nodes.graph_view import GraphView
from operator_console.nodes.recording_desk import RecordingDesk
from operator_console.nodes.replay_desk import ReplayDesk
from operator_console.nodes.replay_driver import ReplayDriver
from operator_console.nodes.training_desk import TrainingDesk
from operator_console.web.interface import Offers, PageState, PolicyTrial, ProcessView, Recordings
from operator_console.web.server import WebServer
from robot_operation.nodes.takeover_stream import TakeoverStream
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.robot_files import robot_of_parameter

_SLOW_S = 0.25


class ConsoleNode(WhetstoneNode):
    """Implements `web.interface.Console`: methods that pages call run in the server's thread."""

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        self._server: WebServer | None = None
        self._commander: Commander | None = None
        self._stream: TakeoverStream | None = None
        self._training: TrainingDesk | None = None
        super().__init__("console_node", package="operator_console", **kwargs)
        self._estop = EstopButton(self)

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Refuse to be open to a network without a token and TLS.

        Raises:
            ParameterError: It would be, or a file that is named cannot be read.
        """
        try:
            _access_of(values)
        except (AccessError, OSError, UnicodeDecodeError) as error:
            raise ParameterError(str(error)) from error

    def on_setup(self) -> None:
        """Create topics and clients."""
        self.access = _access_of(self.parameter_values)
        self.log = AuditLog(
            Path(self.param("command_log")) if self.param("command_log") else None,
            lambda: time.strftime("%Y-%m-%dT%H:%M:%S"),
        )
        self._seat = OperatorSeat(
            ControlDesk(self.param("heartbeat_timeout_s")),
            BrowserDevice(self.param("deadman_s"), self.param("input_timeout_s")),
        )
        self._desk = CommandDesk(self._seat, self._note)
        robot = robot_of_parameter(self.param("robot_file")).in_namespace(self.get_namespace())
        self._graph_view = GraphView(self, robot)
        self._stream = TakeoverStream(self)
        self._estop.connect(self.param(name) for name in ("estop_topic", "own_estop_topic"))
        self._commander = Commander(self, lambda text: self._note("episodes", "run", text))
        self._training = TrainingDesk(
            Path(self.param("run_dir")).absolute(),
            lambda what, text: self._note("training", what, text),
            lambda: self.session.snapshot(time.monotonic()),
        )
        folders = {name: Path(self.param(name)).absolute() for name in ("record_dir", "dataset_dir", "run_dir")}
        self.recordings = RecordingDesk(
            tuple(folders.values()),
            folders["dataset_dir"],
            self.param("robot_file"),
            lambda what, text: self._note("recordings", what, text),
        )
        driver = ReplayDriver(
            self, robot, self._commander, self._stream, lambda text: self._note("episodes", "replay", text)
        )
        self.replays = ReplayDesk(self._seat, self._desk, self.recordings, driver)
        self.create_steady_timer(1.0 / self.param("rate_hz"), self._on_tick)
        self.create_steady_timer(_SLOW_S, self._on_slow_timer)

    def on_start(self) -> None:
        """Serve the page.

        Raises:
            ReasonedError: The address is taken, or a TLS file cannot be used.
        """
        self._stream.release()  # whoever drove before a restart has let go
        try:
            self._server = WebServer(self, self.access, self.param("tls_cert"), self.param("tls_key"))
        except OSError as error:
            raise ReasonedError(Reason.BAD_PARAMETER, f"host and port {self.access.url}: {error}") from error
        self.get_logger().info(f"operator console: {self.access.url}")
        self.set_state(State.READY)

    def on_stop(self) -> None:
        """Close the page, and end the run that was started from it; an operator in control is lost by that."""
        if self._training is not None:
            self._training.close()
            self.recordings.close()
        if self._server is not None:
            self._server.close()
            self._server = None

    def on_teardown(self) -> None:
        """Drop the clients."""
        if self._commander is not None:
            self._commander.close()
            self.log.close()
        self._commander = self._stream = self._training = None

    def safe_action(self, reason: Reason) -> None:
        """Nobody can operate through a console that fails or ends: who is in control is lost."""
        if self._stream is None:
            return
        if operator := self._seat.operator:
            self._on_lost(LostOperator(operator, f"the console ended ({reason.name.lower().replace('_', ' ')})"))

    # ---- what happens by itself ------------------------------------------------------------------------------------

    def _on_tick(self) -> None:
        self._desk.turn()
        if not self.active:
            return
        lost, intent = self._seat.turn(time.monotonic())
        if lost is not None:
            self._on_lost(lost)
        elif not self.replays.turn(intent):
            self._stream.send(intent)

    def _on_slow_timer(self) -> None:
        self._graph_view.update()
        self._training.update()
        self.recordings.update()

    def _on_lost(self, lost: LostOperator) -> None:
        """The operator has gone: stop this robot, and fall silent without a release."""
        self.replays.lose_operator(lost.why)
        self._stream.stop()
        self._seat.let_go()
        self.counters["operators_lost"] += 1
        self._estop.press_for(lost)
        self._note(lost.viewer, "lost", f"{lost.why}; emergency stop pressed")

    def _release_estop(self) -> str:
        self._estop.release()
        return "released; reset the arm to go on"

    def _note(self, viewer: str, command: str, answer: str) -> None:
        self.get_logger().info(self.log.add(viewer, command, answer).text)

    # ---- what pages read -------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """See `Console`."""
        return self._graph_view.session

    @property
    def cameras(self) -> CameraStreams:
        """See `Console`."""
        return self._graph_view.cameras

    @property
    def decisions(self) -> DecisionWatch:
        """See `Console`."""
        return self._graph_view.decisions

    @property
    def camera_period_s(self) -> float:
        """See `Console`."""
        return float(1.0 / self.param("camera_rate_hz"))

    @property
    def catalog(self) -> RunCatalog:
        """See `Console`."""
        return self._training.catalog

    # ---- what pages call -------------------------------------------------------------------------------------------

    def open_page(self, key: str, viewer: str) -> int:
        """See `Console`."""
        return self._seat.open(key, viewer, time.monotonic())

    def close_page(self, key: str, connection: int) -> None:
        """See `Console`."""
        lost = self._seat.close(key, connection)
        if lost is not None:
            self._on_lost(lost)

    def hear(self, key: str, viewer: str, message: PageMessage) -> str:
        """See `Console`."""
        if message.request is PageRequest.ESTOP:
            self._estop.press()
            self._note(viewer, "emergency stop", "pressed")
        self._seat.hear(key, message, time.monotonic())
        if message.request in (PageRequest.TAKE, PageRequest.GIVE):
            return self._take_or_give(key, viewer, is_taken=message.request is PageRequest.TAKE)
        return ""

    def _take_or_give(self, key: str, viewer: str, *, is_taken: bool) -> str:
        command = "take control" if is_taken else "give control back"
        try:
            if is_taken:
                self._seat.take(key)
            else:
                self._seat.give(key)
        except ControlError as error:
            self._note(viewer, command, f"refused: {error}")
            return str(error)
        self._note(viewer, command, "done")
        return ""

    def page_state(self, key: str) -> PageState:
        """See `Console`."""
        seat = self._seat.view(key, time.monotonic())
        return PageState(
            **vars(seat),
            is_pressed=self._estop.is_pressed,
            lost=self._estop.lost,
            speed_m_s=seat.speed * self.param("linear_speed_m_s"),
        )

    def set_speed(self, key: str, share: float) -> None:
        """See `Console`."""
        self._seat.set_speed(key, share)

    def command(self, key: str, viewer: str, command: Command, words: str = "") -> Answer:
        """See `Console`."""
        named = f"{command.value} {words!r}" if words else command.value
        if command is Command.RELEASE_ESTOP:
            return self._desk.act_now(key, viewer, named, self._release_estop)
        return self._desk.ask(key, viewer, named, lambda answer: self._commander.do(command, words, answer))

    def ask_policy(self, key: str, viewer: str, trial: PolicyTrial) -> Answer:
        """See `Console`."""
        numbers = f"{trial.n_candidates} candidates, seed {trial.seed}, edits {trial.edit_scale:g}"
        named = f"what would the policy do: {numbers}"
        return self._desk.ask(key, viewer, named, lambda answer: self._commander.ask_policy(trial, answer))

    # ---- training --------------------------------------------------------------------------------------------------

    def offers(self) -> Offers:
        """See `Console`."""
        return self._training.offers.offers()

    def training(self) -> ProcessView:
        """See `Console`."""
        return self._training.view()

    def start_run(self, key: str, viewer: str, order: RunOrder) -> Answer:
        """See `Console`."""
        return self._desk.act(key, viewer, f"start run {order.name!r}", lambda: self._training.start(order))

    def resume_run(self, key: str, viewer: str, name: str) -> Answer:
        """See `Console`."""
        return self._desk.act(key, viewer, f"resume run {name!r}", lambda: self._training.resume(name))

    def stop_run(self, key: str, viewer: str) -> Answer:
        """See `Console`."""
        return self._desk.act(key, viewer, "stop run", lambda: self._training.stop())

    # ---- recordings ------------------------------------------------------------------------------------------------

    def curate(self, key: str, viewer: str, named: str, act: Callable[[Recordings], str]) -> Answer:
        """See `Console`."""
        return self._desk.act(key, viewer, named, lambda: act(self.recordings))


def _access_of(values: Mapping[str, Any]) -> Access:
    """Rules of access that the parameters give."""
    token = ""
    if values["token_file"]:
        token = Path(values["token_file"]).read_text(encoding="utf-8").strip().partition("\n")[0].strip()
        if not token:
            raise AccessError(f"token_file {values['token_file']} is empty")
    if bool(values["tls_cert"]) != bool(values["tls_key"]):
        raise AccessError("tls_cert and tls_key belong together: give both files, or none")
    return Access(
        values["host"], values["port"], token, is_encrypted=bool(values["tls_cert"]), names=tuple(values["host_names"])
    )


def main() -> None:
    """Run the node."""
    run(ConsoleNode)
