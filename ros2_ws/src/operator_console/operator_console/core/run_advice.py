# SPDX-License-Identifier: Apache-2.0
"""What to do next with a training run, from what it adds up to."""

from __future__ import annotations

from operator_console.core.runs import RunState, RunView

# Below this share of successes corrections help most; above it the last failures are rare, and have to be counted.
_GOOD = 0.8
_FEW_CORRECTIONS = 0.02
_SURE_EPISODES = 100


def next_steps(run: RunView) -> tuple[str, ...]:
    """Sentences, the most useful first; with the command where a terminal is needed."""
    if run.state is RunState.RUNNING:
        return ("It learns: watch the curve grow, or stop it and resume it later.",)
    if run.state is RunState.OF_STACK:
        return (
            "A stack keeps no log of episodes: see its figures by tensorboard --logdir runs.",
            f"Go on with it: start the stack again with train:=true run:={run.name}.",
        )
    if not run.summary.episodes:
        return ("Nothing was learnt yet: resume it.",)
    if run.state is RunState.STOPPED:
        return ("It has not used up its budget: resume it.",)
    steps = []
    newest = run.curve.newest
    if newest is not None and newest.rate < _GOOD:
        steps += _improve(run)
    steps.append(
        f"Compare it with its base on {_SURE_EPISODES} scenes that neither has seen: "
        f"whetstone eval --run {run.name} --paired --episodes {_SURE_EPISODES}"
    )
    if newest is not None and newest.rate >= _GOOD and not any("distilled" in name for name, _ in run.lineage):
        steps.append(
            "Put what it has learnt into the VLA itself, which then needs no small policy (a run with recordings): "
            f"whetstone distill {run.name} --out out/{run.name}"
        )
    return tuple(steps)


def _improve(run: RunView) -> list[str]:
    """Ways to more successes."""
    steps = []
    if run.summary.human_share < _FEW_CORRECTIONS:
        steps.append("Give it corrections: start a run with an operator who takes over.")
    if not run.settings.get("prior"):
        steps.append("Give it demonstrations: choose some as prior data of a new run.")
    if not run.settings.get("finetune_at"):
        steps.append("Fine-tune the VLA itself half way: whetstone train --finetune-at 0.5 --run NEW ...")
    return steps or ["Give it more robot time: a new run with a larger budget."]
