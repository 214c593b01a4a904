# SPDX-License-Identifier: Apache-2.0
"""What the rest of the stack must know of a method's file before there are weights that say it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from rl_methods.registry import encoder_of, online_methods, other_settings, settings_file, trainable_methods
from whetstone_cli.cli.errors import UserError


@dataclass(frozen=True)
class MethodFile:
    """A method's file.

    Attributes:
        path: The file.
        execute_steps: Executed steps of a chunk, None for the launch file's.
        best_of: Candidates that are considered, None for the command's.
        encoder: What the method's networks see: features or images.
        needs_prior: Whether it learns from prior data before anything is played.
        query_every: Steps between two windows while the policy drives, 0 for at its decisions only.
    """

    path: Path
    execute_steps: int | None
    best_of: int | None
    encoder: str
    needs_prior: bool
    query_every: int = 0

    @property
    def launch_arguments(self) -> tuple[tuple[str, str], ...]:
        """Arguments of whetstone.launch.xml."""
        steps = () if self.execute_steps is None else (("execute_steps", str(self.execute_steps)),)
        return (("method_file", str(self.path)), ("encoder", self.encoder), *steps)

    @property
    def query_arguments(self) -> tuple[tuple[str, str], ...]:
        """Arguments of whetstone.launch.xml of a stack whose windows are learnt from."""
        return (("query_stride", str(self.query_every)), ("query_always", "true")) if self.query_every else ()


def read_method_file(method: str, path: Path | None = None) -> MethodFile:
    """Read a method's file; the shipped one without a path.

    Raises:
        UserError: There is no such method or file, or it is another method's.
    """
    path = (_shipped(method) if path is None else path).resolve()
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
        block, schedule = dict(body[method] or {}), dict(body.get("schedule") or {})
        steps = schedule.get("execute_steps", block.get("execute_steps"))
        execute_steps = None if steps is None else int(steps)
        best_of = int(block["best_of"]) if "best_of" in block else None
        encoder, needs_prior = encoder_of(method, path), schedule.get("base_episodes") == 0
        query_every = int(schedule.get("query_every", 0))
    except (OSError, yaml.YAMLError, TypeError, ValueError) as error:
        raise UserError(f"method file {path}: {error}") from error
    except KeyError as error:
        raise UserError(f"method file {path} has no block {method!r}") from error
    return MethodFile(path, execute_steps, best_of, encoder, needs_prior, query_every)


def method_path(method: str, given: Path) -> Path:
    """The file that a user means: of this path, or shipped under this name for the method."""
    shipped = other_settings(method) if method in trainable_methods() else {}
    return given.resolve() if given.exists() or str(given) not in shipped else shipped[str(given)].resolve()


def check_method_file(method: str, path: Path) -> None:
    """Refuse a user's file before any process is started, as the learner would after that.

    Raises:
        UserError: There is no such method, or the file cannot be used; with file and key.
    """
    _check_method(method)
    from rl_methods.config import read_method_config, read_training_settings  # with torch, which few commands need

    try:
        if method in online_methods():
            read_method_config(path)
        else:
            read_training_settings(method, path)
    except ValueError as error:
        raise UserError(f"--method-file: {error}") from error


def _shipped(method: str) -> Path:
    _check_method(method)
    return settings_file(method)


def _check_method(method: str) -> None:
    if method not in trainable_methods():
        raise UserError(f"there is no method {method!r}\n\nChoose from: {', '.join(trainable_methods())}")
