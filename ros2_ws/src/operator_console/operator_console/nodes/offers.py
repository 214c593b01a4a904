# SPDX-License-Identifier: Apache-2.0
"""Tasks and methods that a run can be started with, as the `whetstone` of this computer knows them."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

from operator_console.nodes.command_line import COMMAND, cli_problem
from operator_console.web.interface import MethodOffer, Offers

_ANSWER_S = 120.0


class OfferReader:
    """Asks the command for its methods when a page first wants to know; the answer takes some seconds."""

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._lock = threading.Lock()
        self._offers: Offers | None = None

    def offers(self) -> Offers:
        """Tasks and methods, or why there are none; blocks until they are known.

        A failure is not kept: the next page asks again.
        """
        with self._lock:
            if self._offers is None or self._offers.problem:
                self._offers = _ask()
            return self._offers


def _ask() -> Offers:
    if problem := cli_problem():
        return Offers(problem=problem)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "methods.json"
        command = [*COMMAND, "methods", f"--json={path}"]
        try:
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_ANSWER_S)
            body = json.loads(path.read_text(encoding="utf-8"))
            methods = [
                MethodOffer(each["name"], each["summary"], tuple(each["needs"]))
                for each in body["methods"]
                if each["trainable"]
            ]
            return Offers(_tasks(), tuple(methods), body["default"])
        except subprocess.CalledProcessError as error:
            return Offers(problem=f"whetstone methods: {error.output.decode(errors='replace').strip()}")
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
            return Offers(problem=f"whetstone methods: {error}")


def _tasks() -> tuple[str, ...]:
    folder = Path(get_package_share_directory("robot_bringup")) / "config" / "tasks"
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))
