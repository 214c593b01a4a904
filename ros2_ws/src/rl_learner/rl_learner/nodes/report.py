# SPDX-License-Identifier: Apache-2.0
"""What a person watches while a run goes on, as diagnostics."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from rl_learner.core.session import Phase, Session
from rl_learner.core.worker import Worker
from whetstone_common.core.reason import Reason, State, sentence

_LEVELS = {State.HOLDING: DiagnosticStatus.WARN, State.ERROR: DiagnosticStatus.ERROR}


def figures(worker: Worker | None, method: str, run: str, *, frozen: bool) -> dict[str, Any]:
    """Figures by name."""
    said: dict[str, Any] = {"run": run, "method": method, "waiting": "contract", "finished": False}
    if worker is None:
        return said
    session, tally, metrics = worker.session, worker.session.tally, worker.session.metrics
    return said | {
        "phase": session.phase.value,
        "waiting": "frozen" if frozen else waits_for(session),
        "finished": session.phase is Phase.FINISHED and session.due == 0,
        "behind": session.due,
        "updates": session.learner.updates,
        "updates_per_s": worker.updates_per_s,
        "updates_skipped": session.skipped,
        "utd": session.utd,
        "batch": session.batch,
        "q_mean": metrics.get("critic/target", float("nan")),
        "critic_loss": metrics.get("critic/loss", float("nan")),
        "edit_share": _mean(tally.steered),
        "episodes": tally.episodes,
        "base_episodes": session.recipe.schedule.base_episodes,
        "windows": tally.windows,
        "windows_refused": tally.refused,
        "windows_of_another_discount": tally.other_discount,
        "success_last_20": _mean(tally.successes),
        "robot_steps": tally.steps,
        "most_steps": session.most_steps,
        "human_share": tally.human_steps / max(1, tally.steps),
        "checkpoint_updates": worker.saved_step,
        "problem": session.problem,
    }


def waits_for(session: Session) -> str:
    """Why no update is done now; empty while some are."""
    if session.halt is not None:
        return session.halt.value
    if session.due:
        return "" if session.has_room else "behind"
    if session.phase is Phase.COLLECT:
        return "base episodes"
    return "nothing" if session.phase is Phase.FINISHED else "data"


def to_diagnostics(name: str, status: tuple[State, Reason, str], said: dict[str, Any], clock: Any) -> DiagnosticArray:
    """Message of figures."""
    state, reason, detail = status
    values = [KeyValue(key=key, value=_text(value)) for key, value in said.items()]
    level = _LEVELS.get(state, DiagnosticStatus.OK)
    made = DiagnosticArray(
        status=[DiagnosticStatus(level=level, name=name, message=sentence(state, reason, detail), values=values)]
    )
    made.header.stamp = clock.now().to_msg()
    return made


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _mean(values: tuple[int, ...]) -> float:
    return sum(values) / len(values) if values else float("nan")
