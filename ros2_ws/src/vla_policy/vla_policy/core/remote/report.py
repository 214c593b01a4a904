# SPDX-License-Identifier: Apache-2.0
"""A compatibility report of a policy server: what it says, what it answers, and whether a robot can be served by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.protocol import BackendError, UnavailableError
from vla_policy.core.published.mapping import ModelMapping, read_model_mapping
from vla_policy.core.published.report_lines import ModelReport, RobotNames, camera_problems
from vla_policy.core.remote.answer import ask
from vla_policy.core.remote.connection import PolicyConnection
from vla_policy.core.remote.fit import fitted, probe_request

_SHOWN = 400
_TEMPLATE = """# What the numbers of the policy server mean on this robot. Check every line: all of them are guesses.
action_space: joint        # joint, or cartesian: relative to the TCP at the start of the chunk
actions: absolute          # as the server answers: absolute, or relative to the state at the observation
gripper: absolute
dt_s: 0.05                 # time between two steps of a chunk [s]: 1 / fps of the dataset
horizon: 0                 # steps of a chunk that are taken, 0 for all
cameras:                   # key of the server's observation: robot's camera
{cameras}server:
  state: {{observation/state: {count}}}  # keys of the state and how many numbers each has, in order
  prompt: prompt
  image_size_px: 224
  image_layout: hwc        # or chw, as openpi's ALOHA policies take them
  nested: false            # true: a / in a key opens an inner map, as for ALOHA's images/cam_high
state:                     # in the model's order; unit: rad, deg, m, mm, percent, opening
{rows}action:
{rows}"""


def inspect_server(address: str, robot: RobotNames, mapping: str = "", *, key: str = "", start_s: float) -> ModelReport:
    """Ask a server what it is, and for two chunks.

    Args:
        address: `ws://` or `wss://`.
        robot: Names of the robot that it is to serve.
        mapping: Mapping file, empty for none yet.
        key: That the server asks for, empty for none.
        start_s: For the connection, and for each answer.
    """
    report = ModelReport()
    file = _mapping(report, mapping)
    connection = PolicyConnection(address, key)
    try:
        metadata = connection.wait(start_s)
        report.note("server", address)
        report.note("metadata", f"{metadata}"[:_SHOWN] if metadata else "the server says nothing of itself")
        if file is not None:
            _probe(report, connection, file, robot, start_s)
    except (UnavailableError, BackendError) as error:
        report.problem("server", str(error))
    except CheckpointError as error:
        report.problem("mapping", str(error))
    finally:
        connection.close()
    if not mapping:
        report.template = _template(robot)
    return report


def _mapping(report: ModelReport, named: str) -> ModelMapping | None:
    if not named:
        report.problem("mapping", "no file: cameras, state, action, their units and dt_s must be mapped (--mapping)")
        return None
    return report.attempt("mapping", lambda: read_model_mapping(Path(named).expanduser()))


def _probe(
    report: ModelReport, connection: PolicyConnection, file: ModelMapping, robot: RobotNames, timeout_s: float
) -> None:
    request = probe_request(file)
    first, second = (ask(connection, request, timeout_s) for _ in range(2))
    steps, dims = first.actions.shape
    times = f"{1e3 * second.round_trip_s:.1f} ms, of which the server says {1e3 * second.server_s:.1f}"
    report.note("answer", f"{steps} steps of {dims} numbers; the second took {times}")
    is_drawn = not np.array_equal(first.actions, second.actions)
    words = "differ" if is_drawn else "are the same, so that several candidates would be too"
    report.note("candidates", f"two answers to one observation {words}")
    report.note("features", "none: methods that learn on them are refused")
    problems = camera_problems(file, robot)
    for problem in problems:
        report.problem("mapping", problem)
    _, spec = fitted(file, first.actions.shape, robot.joints, connection.address)
    if not problems:
        text = f"fits: {spec.action_space} actions, {file.actions}, {spec.dt_s:g} s a step, chunks of {spec.horizon}"
        report.note("mapping", text)


def _template(robot: RobotNames) -> str:
    keys = ["observation/image", *(f"observation/{name}_image" for name in robot.cameras[1:])]
    pairs = zip(keys, robot.cameras, strict=False)
    units = {name: "opening" if name == robot.joints[-1] else "rad" for name in robot.joints}
    return _TEMPLATE.format(
        cameras="".join(f"  {key}: {name}\n" for key, name in pairs),
        count=len(robot.joints),
        rows="".join(f"  - {{name: {name}, unit: {unit}}}\n" for name, unit in units.items()),
    )
