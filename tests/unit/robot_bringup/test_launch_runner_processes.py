# SPDX-License-Identifier: Apache-2.0
"""Real small processes: their lines, their respawn, and that none of them outlives the launch."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robot_bringup.launch_runner.output import LogFile, Screen

DEADLINE_S = 30.0
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); {} print('up', flush=True); time.sleep(99)"
)


class Runner:
    """The launch runner on a file, with its lines collected."""

    def __init__(self, folder: Path, body: str, stdout=subprocess.PIPE, log: str = ""):
        file = folder / "test.launch.xml"
        file.write_text(f"<launch>{body}</launch>")
        environment = {**os.environ, "ROS_LOG_DIR": log or str(folder / "log"), "PYTHONUNBUFFERED": "1"}
        argv = [sys.executable, "-m", "robot_bringup.launch_runner", str(file)]
        self.process = subprocess.Popen(argv, env=environment, stdout=stdout, text=True, start_new_session=True)
        self.lines: list[str] = []
        self.log = folder / "log"

    def read_until(self, text: str) -> str:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            line = self.process.stdout.readline()
            if not line:
                break
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"no {text!r} in:\n{''.join(self.lines)}")

    def end(self) -> int:
        rest, _ = self.process.communicate(timeout=DEADLINE_S)
        self.lines += (rest or "").splitlines(keepends=True)
        return self.process.returncode

    @property
    def text(self) -> str:
        return "".join(self.lines)


@pytest.fixture
def launch(tmp_path):
    runners = []

    def start(body: str, **options) -> Runner:
        runners.append(Runner(tmp_path, body, **options))
        return runners[-1]

    yield start
    for runner in runners:
        if runner.process.poll() is None:
            runner.process.send_signal(signal.SIGTERM)
            runner.process.communicate(timeout=DEADLINE_S)


def python(code: str, attributes: str = 'output="screen"') -> str:
    return f'<executable cmd="{sys.executable} -c &quot;{code}&quot;" name="p" {attributes}/>'


def is_gone(pid: int) -> bool:
    """Whether a process has ended; nobody may have reaped it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until_gone(*pids: int, deadline_s: float = DEADLINE_S) -> None:
    end_s = time.monotonic() + deadline_s
    while left := [pid for pid in pids if not is_gone(pid)]:
        assert time.monotonic() < end_s, f"still there: {left}"
        time.sleep(0.02)


def talker(folder: Path, attributes: str = 'output="both"') -> str:
    """A process that writes down its number, says far more than a pipe holds, writes down that, and waits."""
    code = (
        f"import os, pathlib, time; folder = pathlib.Path('{folder}'); (folder / 'pid').write_text(str(os.getpid())); "
        "[print('x' * 1000, flush=True) for _ in range(1000)]; (folder / 'said').touch(); time.sleep(99)"
    )
    return python(code, attributes)


def until_said(folder: Path) -> int:
    """The talker's number, once it has said everything."""
    end_s = time.monotonic() + DEADLINE_S
    while not (folder / "said").exists():
        assert time.monotonic() < end_s, "the talker hangs: nobody empties its pipe"
        time.sleep(0.02)
    return int((folder / "pid").read_text())


def test_when_all_processes_end_expect_exit_0_and_their_lines_with_their_names(launch):
    runner = launch(python("print(40 + 2)"))
    assert runner.end() == 0
    assert "[p-1] 42\n" in runner.text
    assert "[p-1] process has finished cleanly" in runner.text


def test_when_a_process_dies_expect_its_exit_code_said_and_the_others_left_alone(launch):
    runner = launch(python("raise SystemExit(3)") + python("import time; time.sleep(1); print('still here')"))
    assert runner.end() == 1
    assert "[p-1] process has died, exit code 3" in runner.text
    assert "[p-2] still here" in runner.text


def test_when_output_is_log_expect_the_lines_in_a_file_only(launch):
    runner = launch(python("print('quiet')", ""))
    assert runner.end() == 0
    assert "quiet" not in runner.text
    assert [f.read_text() for f in runner.log.rglob("p-1.log")] == ["quiet\n"]


def test_when_interrupted_expect_every_process_interrupted_and_exit_0(launch):
    loop = "import time; print('up', flush=True); time.sleep(99)"
    runner = launch(python(loop) + python(loop))
    runner.read_until("] up")
    runner.read_until("] up")
    runner.process.send_signal(signal.SIGINT)
    assert runner.end() == 0
    assert runner.text.count("sending SIGINT") == 2
    assert "SIGTERM" not in runner.text


@pytest.mark.parametrize(
    ("also_deaf", "last"),
    [("", "SIGTERM"), ("signal.signal(signal.SIGTERM, signal.SIG_IGN);", "SIGKILL")],
)
def test_when_a_process_is_deaf_expect_the_next_signal(launch, also_deaf, last):
    timeouts = 'output="screen" sigterm_timeout="0.3" sigkill_timeout="0.3"'
    runner = launch(python(STUBBORN.format(also_deaf), timeouts))
    runner.read_until("] up")
    runner.process.send_signal(signal.SIGINT)
    assert runner.end() == 0
    assert f"sending {last}" in runner.text


def test_when_interrupted_twice_expect_the_order_kept(launch):
    code = (
        "import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: "
        "(time.sleep(1), print('tidied', flush=True), sys.exit(0))); print('up', flush=True); time.sleep(99)"
    )
    runner = launch(python(code))
    runner.read_until("] up")
    runner.process.send_signal(signal.SIGINT)
    runner.read_until("sending SIGINT")
    runner.process.send_signal(signal.SIGINT)
    assert runner.end() == 0
    assert "already ending" in runner.text
    assert "[p-1] tidied" in runner.text


def test_when_a_respawning_process_is_killed_expect_a_new_one(launch):
    code = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(99)"
    runner = launch(python(code, 'output="screen" respawn="true" respawn_delay="0.1"'))
    first = int(runner.read_until("] pid").split()[-1])
    os.kill(first, signal.SIGKILL)
    second = int(runner.read_until("] pid").split()[-1])
    assert second != first
    runner.process.send_signal(signal.SIGINT)
    assert runner.end() == 0
    assert is_gone(second)


def test_when_a_process_ends_all_expect_the_others_ended(launch):
    waits = python("import time; print('up', flush=True); time.sleep(99)")
    runner = launch(waits + python("import time; time.sleep(1)", 'on_exit="shutdown"'))
    assert runner.end() == 0
    assert "so everything ends" in runner.text


def test_when_a_process_leaves_a_child_behind_expect_it_gone_too(launch):
    code = (
        "import subprocess, sys; c = subprocess.Popen(['sleep', '99']); print('child', c.pid, flush=True); sys.exit(0)"
    )
    runner = launch(python(code))
    child = int(runner.read_until("] child").split()[-1])
    assert runner.end() == 0
    until_gone(child)


def test_when_a_command_does_not_exist_expect_it_said(launch):
    runner = launch('<executable cmd="/nowhere/at/all"/>')
    assert runner.end() == 1
    assert "could not be started" in runner.text


def test_when_the_file_is_refused_expect_exit_1_and_nothing_started(tmp_path):
    file = tmp_path / "bad.launch.xml"
    file.write_text("<launch>\n<timer/></launch>")
    argv = [sys.executable, "-m", "robot_bringup.launch_runner", str(file)]
    result = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert result.returncode == 1
    assert f"{file}:2: <timer>" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("sink", ["broken pipe", "stalled pipe", "full disk", "closed"])
def test_when_nothing_can_be_printed_expect_pipes_emptied_and_every_signal_to_end_all(launch, tmp_path, sink, number):
    readable, writable = os.pipe()
    if sink == "broken pipe":
        os.close(readable)
    if sink == "full disk":
        os.close(writable)
        writable = os.open("/dev/full", os.O_WRONLY)
    if sink == "closed":
        # a stream of ours that is closed before the interpreter starts
        closer = os.open("/dev/null", os.O_RDONLY)
        os.dup2(closer, writable)
        os.close(closer)
    runner = launch(talker(tmp_path), stdout=writable)
    os.close(writable)
    pid = until_said(tmp_path)
    runner.process.send_signal(number)
    assert runner.process.wait(10.0) == 0
    until_gone(pid)


def test_when_the_terminal_is_closed_expect_everything_ended(tmp_path):
    file = tmp_path / "test.launch.xml"
    file.write_text(f"<launch>{talker(tmp_path)}</launch>")
    runner, terminal = pty.fork()
    if runner == 0:
        os.environ["ROS_LOG_DIR"] = str(tmp_path / "log")
        os.execv(sys.executable, [sys.executable, "-m", "robot_bringup.launch_runner", str(file)])
    end_s = time.monotonic() + DEADLINE_S
    while not (tmp_path / "said").exists() and time.monotonic() < end_s:
        os.read(terminal, 1 << 16)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(runner, 0)[1]) == 0
    until_gone(until_said(tmp_path), deadline_s=3.0)


def test_when_the_runner_is_killed_expect_no_process_left(launch, tmp_path):
    runner = launch(talker(tmp_path), stdout=subprocess.DEVNULL)
    pid = until_said(tmp_path)
    runner.process.kill()
    until_gone(pid, deadline_s=3.0)


def test_when_the_log_folder_cannot_be_made_expect_it_said_once_and_the_lines_shown(launch):
    runner = launch(python("print(40 + 2); print(6 * 9)", 'output="both"'), log="/dev/null/nowhere")
    assert runner.end() == 0
    assert runner.text.count("cannot be written") == 2  # one of each pipe's
    assert "[p-1] 42\n[p-1] 54\n" in runner.text


def test_when_the_log_is_on_a_full_disk_expect_one_complaint_and_no_failure(capfd):
    screen = Screen()
    log = LogFile(Path("/dev/full"), screen)
    for _ in range(3):
        log.write(b"a line\n")
    log.close()
    screen.close()
    assert capfd.readouterr().out.count("No space left") == 1


def test_when_a_process_is_killed_expect_nothing_that_it_said_before_given_as_the_reason(launch):
    killed = python(
        "import os, sys; print('[INFO]: ready', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)",
        'on_exit="shutdown"',
    )
    runner = launch(killed)
    assert runner.end() == 1
    assert runner.text.splitlines()[-1] == "[launch] p-1 has died, exit code -9 (SIGKILL)"


def test_when_a_process_that_ends_all_dies_expect_exit_1_and_its_last_words_last(launch):
    waits = python("import time; print('up', flush=True); time.sleep(99)")
    fails = python("import sys, time; time.sleep(1); sys.exit('speed = 9: the most is 5')", 'on_exit="shutdown"')
    runner = launch(waits + fails)
    assert runner.end() == 1
    assert runner.text.splitlines()[-1] == "[launch] p-2 has died, exit code 1: speed = 9: the most is 5"


def test_when_a_respawning_process_refuses_its_parameters_expect_the_end_instead_of_another_try(launch):
    waits = python("import time; print('up', flush=True); time.sleep(99)")
    refuses = python(
        "import sys; print('refused to start: speed = 9', file=sys.stderr); sys.exit(2)",
        'output="screen" respawn="true" respawn_delay="0.1"',
    )
    runner = launch(waits + refuses)
    assert runner.end() == 1
    assert runner.text.count("[p-2] process started") == 1
    assert runner.text.splitlines()[-1] == "[launch] p-2 has died, exit code 2: refused to start: speed = 9"
