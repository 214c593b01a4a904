# SPDX-License-Identifier: Apache-2.0
"""One batch of observations becomes proposals: prefix, features out, noise, denoising, proposals out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vla_policy.core.batching import Draft, denoised, looked_at
from vla_policy.core.protocol import Backend, FloatArray
from vla_policy.nodes.proposal_noise import Draw
from vla_policy.nodes.proposal_worker import Job


@dataclass(frozen=True, eq=False)
class _Looked:
    """A job after the prefix pass."""

    job: Job
    context: Any
    features: FloatArray
    is_steered: bool


def propose(backend: Backend, jobs: Sequence[Job], is_displaced: Callable[[Job], bool]) -> None:
    """Work on jobs of different robots; what fails with one is said to its robot alone.

    Args:
        backend: The model.
        jobs: At least one.
        is_displaced: Whether the result of a job would be thrown away.
    """
    began_s = time.perf_counter()
    looked = _look(backend, jobs, began_s)
    began_s = time.perf_counter()
    drawn = [(each, draw) for each in looked if (draw := _draw(backend, each, time.perf_counter() - began_s))]
    noise_s = time.perf_counter() - began_s
    drafts: list[tuple[_Looked, Draw, Draft]] = []
    for each, draw in drawn:
        each.job.msg.times.noise_s = noise_s
        if is_displaced(each.job):
            each.job.robot.superseded()
        elif draft := _draft(each, draw):
            drafts.append((each, draw, draft))
    if drafts:
        _denoise(backend, drafts)


def _look(backend: Backend, jobs: Sequence[Job], began_s: float) -> list[_Looked]:
    found = looked_at(backend, [job.observation for job in jobs])
    prefix_s = time.perf_counter() - began_s
    looked = []
    for job, result in zip(jobs, found, strict=True):
        if isinstance(result, Exception):
            job.robot.failed(result)
            continue
        job.msg.times.queue_s, job.msg.times.prefix_s = began_s - job.arrived_s, prefix_s
        is_steered = job.robot.noise.expect(job.stamp)
        job.robot.outputs.publish_features(job.msg, result[1], noise_expected=is_steered)
        looked.append(_Looked(job, *result, is_steered))
    return looked


def _draw(backend: Backend, each: _Looked, waited_s: float) -> Draw | None:
    job = each.job
    try:
        return job.robot.noise.draw(
            backend.spec, job.msg.request, job.stamp.sequence, is_steered=each.is_steered, waited_s=waited_s
        )
    except Exception as error:  # noqa: BLE001 - said to this robot, the others are served
        job.robot.failed(error)
        return None


def _draft(each: _Looked, draw: Draw) -> Draft | None:
    try:
        return Draft(each.context, draw.noise, each.job.robot.old_chunk(each.job))
    except Exception as error:  # noqa: BLE001 - said to this robot, the others are served
        each.job.robot.failed(error)
        return None


def _denoise(backend: Backend, drafts: Sequence[tuple[_Looked, Draw, Draft]]) -> None:
    began_s = time.perf_counter()
    found = denoised(backend, [draft for _, _, draft in drafts])
    denoise_s = time.perf_counter() - began_s
    for (each, draw, _), chunks in zip(drafts, found, strict=True):
        job = each.job
        if isinstance(chunks, Exception):
            job.robot.failed(chunks)
            continue
        job.msg.times.denoise_s = denoise_s
        job.robot.outputs.publish_proposal(job.msg, each.features, chunks, draw)
        job.robot.served()
