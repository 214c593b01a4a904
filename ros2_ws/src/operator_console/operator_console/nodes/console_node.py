# SPDX-License-Identifier: Apache-2.0
"""Node of the operator console: serves a page, and does what the page in control commands."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from std_msgs.msg import Bool

from operator_console.core.access import Access, AccessError
from operator_console.core.audit_log import AuditLog
from operator_console.core.browser_device import BrowserDevice
from operator_console.core.commands import Command, CommandRefusedError
from operator_console.core.control import ControlDesk, ControlError, LostOperator
from operator_console.core.page_message import PageMessage, PageRequest
from operator_console.core.run_order import RunOrder
from operator_console.core.session import Session
from operator_console.nodes.cameras import CameraStreams
from operator_console.nodes.commander import Answer, Commander
from operator_console.nodes.decision_watch import DecisionWatch
from operator_console.nodes.graph_view import GraphView
from operator_console.nodes.offers import OfferReader
from operator_console.nodes.recording_desk import RecordingDesk
from operator_console.nodes.training_desk import TrainingDesk
from operator_console.web.interface import Offers, PageState, ProcessView, Recordings
from operator_console.web.server import WebServer
from robot_operation.nodes.takeover_stream import TakeoverStream
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.robot_files import robot_of_parameter

_SLOW_S = 0.25


class ConsoleNode(WhetstoneNode):
    """Implements `web.interface.Console`: methods that pages call run in the server's thread."""

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        self._lock = threading.RLock()
        self._pressed = False  # what this node last said about the emergency stop
        self._lost = ""
        self._server: WebServer | None = None
        self._commander: Commander | None = None
        self._stream: TakeoverStream | None = None
        self._training: TrainingDesk | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        super().__init__("console_node", package="operator_console", **kwargs)

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
        self.session = Session()
        self.access = _access_of(self.parameter_values)
        self.log = AuditLog(
            Path(self.param("command_log")) if self.param("command_log") else None,
            lambda: time.strftime("%Y-%m-%dT%H:%M:%S"),
        )
        self._desk = ControlDesk(self.param("heartbeat_timeout_s"))
        self._device = BrowserDevice(self.param("deadman_s"), self.param("input_timeout_s"))
        robot = robot_of_parameter(self.param("robot_file")).in_namespace(self.get_namespace())
        self.cameras = CameraStreams(
            self, robot.cameras, compressed=self.param("compressed"), quality=self.param("jpeg_quality")
        )
        self.decisions = DecisionWatch(self, robot, self.cameras)
        GraphView(self, self.session, self.decisions)
        self.camera_period_s = 1.0 / self.param("camera_rate_hz")
        self._stream = TakeoverStream(self)
        topics = dict.fromkeys(self.resolve_topic_name(self.param(name)) for name in ("estop_topic", "own_estop_topic"))
        self._estops = [self.create_publisher(Bool, topic, qos.ESTOP[0]) for topic in topics]
        self._commander = Commander(self, lambda text: self._note("episodes", "run", text))
        self._training = TrainingDesk(
            Path(self.param("run_dir")).absolute(),
            lambda what, text: self._note("training", what, text),
            lambda: self.session.snapshot(time.monotonic()),
        )
        self.catalog = self._training.catalog
        self._offers = OfferReader()
        folders = {name: Path(self.param(name)).absolute() for name in ("record_dir", "dataset_dir", "run_dir")}
        self.recordings = RecordingDesk(
            tuple(folders.values()),
            folders["dataset_dir"],
            self.param("robot_file"),
            lambda what, text: self._note("recordings", what, text),
        )
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
        with self._lock:
            operator = self._desk.operator
        if operator:
            self._on_lost(LostOperator(operator, f"the console ended ({reason.name.lower().replace('_', ' ')})"))

    # ---- what happens by itself ------------------------------------------------------------------------------------

    def _on_tick(self) -> None:
        while not self._jobs.empty():
            self._jobs.get_nowait()()
        if not self.active:
            return
        now_s = time.monotonic()
        with self._lock:
            lost = self._desk.check_heartbeat(now_s)
            intent = self._device.intent(now_s)
        if lost is not None:
            self._on_lost(lost)
        else:
            self._stream.send(intent)

    def _on_slow_timer(self) -> None:
        self.cameras.update()
        self.decisions.update()
        self._training.update()
        self.recordings.update()

    def _on_lost(self, lost: LostOperator) -> None:
        """The operator has gone: stop this robot, and fall silent without a release."""
        self._stream.stop()
        with self._lock:
            self._device.let_go()
            self._lost = f"{lost.viewer}: {lost.why}"
        self.counters["operators_lost"] += 1
        self._press(self._estops[-1:])
        self._note(lost.viewer, "lost", f"{lost.why}; emergency stop pressed")

    def _press(self, publishers: list[Any]) -> None:
        with self._lock:
            self._pressed = True
            self.counters["estops"] += 1
        for publisher in publishers:
            publisher.publish(Bool(data=True))

    def _release_estop(self) -> str:
        with self._lock:
            self._pressed, self._lost = False, ""
        for publisher in self._estops:
            publisher.publish(Bool(data=False))
        return "released; reset the arm to go on"

    def _note(self, viewer: str, command: str, answer: str) -> None:
        self.get_logger().info(self.log.add(viewer, command, answer).text)

    # ---- what pages call -------------------------------------------------------------------------------------------

    def open_page(self, key: str, viewer: str) -> int:
        """See `Console`."""
        with self._lock:
            return self._desk.open(key, viewer, time.monotonic())

    def close_page(self, key: str, connection: int) -> None:
        """See `Console`."""
        with self._lock:
            lost = self._desk.close(key, connection)
        if lost is not None:
            self._on_lost(lost)

    def hear(self, key: str, viewer: str, message: PageMessage) -> str:
        """See `Console`."""
        if message.request is PageRequest.ESTOP:
            self._press(self._estops)
            self._note(viewer, "emergency stop", "pressed")
        now_s = time.monotonic()
        with self._lock:
            self._desk.beat(key, now_s)
            if self._desk.controls(key) and message.request is not PageRequest.ESTOP:
                self._device.update(message.keys, message.pad, now_s)
        if message.request in (PageRequest.TAKE, PageRequest.GIVE):
            return self._take_or_give(key, viewer, is_taken=message.request is PageRequest.TAKE)
        return ""

    def _take_or_give(self, key: str, viewer: str, *, is_taken: bool) -> str:
        command = "take control" if is_taken else "give control back"
        try:
            with self._lock:
                if is_taken:
                    self._desk.take(key)
                else:
                    self._desk.check(key)
                    self._desk.release(key)
                self._device.let_go()
        except ControlError as error:
            self._note(viewer, command, f"refused: {error}")
            return str(error)
        self._note(viewer, command, "done")
        return ""

    def page_state(self, key: str) -> PageState:
        """See `Console`."""
        now_s = time.monotonic()
        with self._lock:
            intent = self._device.intent(now_s)
            return PageState(
                controls=self._desk.controls(key),
                operator=self._desk.operator,
                viewers=self._desk.viewers,
                is_pressed=self._pressed,
                lost=self._lost,
                engaged=self._desk.controls(key) and intent.engaged,
                speed=self._device.speed,
                speed_m_s=self._device.speed * self.param("linear_speed_m_s"),
                heartbeat_timeout_s=self._desk.timeout_s,
            )

    def set_speed(self, key: str, share: float) -> None:
        """See `Console`."""
        with self._lock:
            self._desk.check(key)
            self._device.speed = share

    def command(self, key: str, viewer: str, command: Command, words: str = "") -> Answer:
        """See `Console`."""
        answer = self._answer(viewer, f"{command.value} {words!r}" if words else command.value)
        if not self._is_in_control(key, answer):
            return answer
        if command is Command.RELEASE_ESTOP:
            answer.set_result(self._release_estop())
        else:
            self._jobs.put(lambda: self._commander.do(command, words, answer))
        return answer

    def _answer(self, viewer: str, named: str) -> Answer:
        """Answer of a command, which is logged when it is there."""
        answer: Answer = Answer()
        answer.add_done_callback(lambda done: self._note(viewer, named, _text_of(done)))
        return answer

    def _is_in_control(self, key: str, answer: Answer) -> bool:
        """Whether a page may command; the answer says why not."""
        try:
            with self._lock:
                self._desk.check(key)
        except ControlError as error:
            answer.set_exception(CommandRefusedError(str(error)))
            return False
        return True

    # ---- training --------------------------------------------------------------------------------------------------

    def offers(self) -> Offers:
        """See `Console`."""
        return self._offers.offers()

    def training(self) -> ProcessView:
        """See `Console`."""
        return self._training.view()

    def start_run(self, key: str, viewer: str, order: RunOrder) -> Answer:
        """See `Console`."""
        return self._carry_out(key, viewer, f"start run {order.name!r}", lambda: self._training.start(order))

    def resume_run(self, key: str, viewer: str, name: str) -> Answer:
        """See `Console`."""
        return self._carry_out(key, viewer, f"resume run {name!r}", lambda: self._training.resume(name))

    def stop_run(self, key: str, viewer: str) -> Answer:
        """See `Console`."""
        return self._carry_out(key, viewer, "stop run", lambda: self._training.stop())

    # ---- recordings ------------------------------------------------------------------------------------------------

    def curate(self, key: str, viewer: str, named: str, act: Callable[[Recordings], str]) -> Answer:
        """See `Console`."""
        return self._carry_out(key, viewer, named, lambda: act(self.recordings))

    def _carry_out(self, key: str, viewer: str, named: str, act: Callable[[], str]) -> Answer:
        answer = self._answer(viewer, named)

        def do() -> None:
            try:
                answer.set_result(act())
            except CommandRefusedError as error:
                answer.set_exception(error)

        if self._is_in_control(key, answer):
            # By the thread of the node: what a server's thread starts ends with that thread.
            self._jobs.put(do)
        return answer


def _text_of(answer: Answer) -> str:
    error = answer.exception()
    return f"refused: {error}" if error is not None else answer.result()


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
