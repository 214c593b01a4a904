# SPDX-License-Identifier: Apache-2.0
"""A compatibility report of a checkpoint directory before anything is started: what fits and what must be mapped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from transformers import PI0Config

from vla_policy.core.files import model_directory
from vla_policy.core.normalise import PolicyStats
from vla_policy.core.published.directory import (
    PROMPT_LENGTH,
    PublishedModel,
    format_of,
    network_of,
    read_published,
)
from vla_policy.core.published.loading import STATS_FILE, first_of, outline, tensor_problems
from vla_policy.core.published.mapping import Hints, ModelMapping, mapping_path, misfits, read_model_mapping
from vla_policy.core.published.prompt import load_tokenizer, tokenizer_source
from vla_policy.core.published.report_lines import ModelReport, RobotNames, camera_problems
from vla_policy.core.published.statistics import Kind, Normalisation
from vla_policy.core.published.template import template_of
from vla_policy.core.published.tensors import StoredTensors
from vla_policy.core.token_files import describe_features

_GIB = 2**30
_LEAST_SPREAD = 1e-3  # of what a state is divided by: below, noise of a sensor becomes a large number
_BYTES = {"float32": 4, "bfloat16": 2}


def inspect(directory: Path, robot: RobotNames, mapping: str = "") -> ModelReport:
    """Look at everything but the numbers of the weights.

    Args:
        directory: Checkpoint directory.
        robot: Names of the robot that it is to be served on.
        mapping: Mapping file, empty for the one beside the checkpoint.
    """
    report = ModelReport()
    found = report.attempt("format", lambda: format_of(directory))
    if found is None:
        return report
    report.note("format", f"{found[0].value}: {directory}")
    if not mapping and (directory / STATS_FILE).is_file():
        _trained_here(report, directory, robot)
        return report
    file = _mapping(report, directory, mapping)
    model = report.attempt("content", lambda: read_published(directory, file.hints if file else Hints()))
    if model is None:
        return report
    _network(report, model.config, model.stored, len(model.cameras), model.prompt_length)
    _quantities(report, model, file)
    if file is None:
        report.template = template_of(model, robot.joints, robot.cameras)
    else:
        _fit(report, model, file, robot)
    _tokenizer(report, model, file)
    if (features := report.attempt("features", lambda: describe_features(directory))) is not None:
        report.note("features", features)
    return report


def _trained_here(report: ModelReport, directory: Path, robot: RobotNames) -> None:
    """A directory that our trainings made: its numbers are the contract's, so there is nothing to map."""

    def read() -> tuple[PI0Config, StoredTensors, PolicyStats]:
        with model_directory(directory):
            return *network_of(directory), PolicyStats.load(directory / STATS_FILE)

    if (found := report.attempt("content", read)) is None:
        return
    config, stored, stats = found
    _network(report, config, stored, len(stats.cameras))
    report.note("cameras", ", ".join(stats.cameras))
    for name in stats.cameras:
        if name not in robot.cameras:
            report.problem("cameras", f"the robot has no {name!r}, it has {list(robot.cameras)}")
    dims = f"{stats.proprio.dim} dimensions of state, {stats.action.dim} of action"
    report.note("numbers", f"{STATS_FILE}: {stats.action_space} actions, {dims}, {stats.dt_s:g} s a step")
    if (features := report.attempt("features", lambda: describe_features(directory))) is not None:
        report.note("features", features)


def _mapping(report: ModelReport, directory: Path, named: str) -> ModelMapping | None:
    path = mapping_path(directory, named)
    if not path.is_file():
        report.problem("mapping", f"{path} is missing: cameras, state, action, their units and dt_s must be mapped")
        return None
    return report.attempt("mapping", lambda: read_model_mapping(path))


def _network(
    report: ModelReport, config: PI0Config, stored: StoredTensors, cameras: int, prompt_length: int = PROMPT_LENGTH
) -> None:
    parameters = dict(outline(config).named_parameters())
    count = sum(parameter.numel() for parameter in parameters.values())
    text, vision = config.vlm_config.text_config, config.vlm_config.vision_config
    report.note(
        "network",
        f"{count / 1e6:,.3g} million parameters; language model {text.num_hidden_layers} x {text.hidden_size}, "
        f"expert {config.dit_config.num_hidden_layers} x {config.dit_config.hidden_size}, "
        f"images {vision.image_size} px, chunk of {config.chunk_size}, {config.num_inference_steps} flow steps",
    )
    problems = tensor_problems(parameters, stored.weights)
    kinds = sorted({tensor.dtype for tensor in stored.weights.values()})
    if problems:
        report.problem("tensors", first_of(problems))
    else:
        report.note("tensors", f"{len(parameters)} as expected, {' and '.join(kinds)}")
    tokens = max(1, cameras) * (vision.image_size // vision.patch_size) ** 2 + prompt_length
    _memory(report, config, count, tokens)


def _memory(report: ModelReport, config: PI0Config, parameters: int, tokens: int) -> None:
    text = config.vlm_config.text_config
    per_token = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim + 4 * text.intermediate_size
    needed = {name: size * (parameters + tokens * per_token) / _GIB for name, size in _BYTES.items()}
    has = _machine_gib()
    words = ", ".join(f"{gib:.2f} GiB as {name}" for name, gib in needed.items())
    if min(needed.values()) > has:
        report.problem("memory", f"{words}; this machine has {has:.1f} GiB")
    else:
        report.note("memory", f"{words}; this machine has {has:.1f} GiB")


def _machine_gib() -> float:
    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory) / _GIB
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB


def _quantities(report: ModelReport, model: PublishedModel, file: ModelMapping | None) -> None:
    cameras = ", ".join(model.cameras) if model.cameras else "not named by the directory"
    report.note("cameras", cameras)
    for name, found in (("state", model.state), ("action", model.action)):
        dims = f"{found.dim} dimensions" if model.are_dims_known else f"statistics of {found.dim} dimensions"
        report.note(name, f"{dims}, normalised by {found.kind.value}{_spread(found, name)}")
    if model.relative is not None:
        kinds = ["relative" if one else "absolute" for one in model.relative]
        report.note("actions", f"as the checkpoint says: {', '.join(kinds)}")
    elif file is None:
        report.note("actions", "the checkpoint does not say whether they are absolute or relative to the state")


def _spread(found: Normalisation, name: str) -> str:
    """What an operator should know of dimensions that never moved in the data."""
    scale = found.scale_in if name == "state" else found.scale_out
    small = [str(i) for i in range(found.dim) if scale[i] < _LEAST_SPREAD]
    if not small or found.kind is Kind.IDENTITY:
        return ""
    return f"; dimension {', '.join(small)} hardly moved in the data"


def _fit(report: ModelReport, model: PublishedModel, file: ModelMapping, robot: RobotNames) -> None:
    problems = misfits(file, model, robot.joints)
    problems += camera_problems(file, robot)
    for problem in problems:
        report.problem("mapping", problem)
    if not problems:
        report.note("mapping", f"fits: {file.action_space} actions, {file.actions}, {file.dt_s:g} s a step")


def _tokenizer(report: ModelReport, model: PublishedModel, file: ModelMapping | None) -> None:
    named = file.tokenizer if file else ""
    vocabulary = int(model.config.vlm_config.text_config.vocab_size)

    def load() -> Any:
        return load_tokenizer(model.directory, named, model.tokenizer, vocabulary)

    if report.attempt("tokenizer", load) is not None:
        source, _ = tokenizer_source(model.directory, named, model.tokenizer)
        report.note("tokenizer", f"{source}, prompts of {model.prompt_length} tokens, model embeds {vocabulary}")
