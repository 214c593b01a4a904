# SPDX-License-Identifier: Apache-2.0
"""What `whetstone_cli.jobs.ppo` does: simulators, VLA and PPO put together."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import yaml
from rich.console import Console

from rl_learner.core.on_policy.collector import CollectedEpisode, Collector
from rl_learner.core.on_policy.run import Iteration, OnPolicyRun, RunPlan
from rl_learner.core.on_policy.vla import VlaEmbodiment
from rl_methods.config import read_training_settings
from rl_methods.ppo.algorithm import Ppo
from rl_methods.ppo.settings import PpoSettings
from sim_bridge.core.environment import EnvironmentConfig
from sim_bridge.core.scene import CAMERAS
from sim_bridge.core.tasks import get_task
from sim_bridge.core.vector import make_vector
from vla_policy.core.backends.pi0 import Pi0Backend
from vla_policy.core.protocol import PolicySpec
from vla_policy.core.serving import weights_sha256
from vla_policy.core.training.expert_flow import ExpertFlow
from vla_policy.core.training.trainable import Trainable
from whetstone_cli.core.simulation import EnvironmentMaker
from whetstone_cli.core.training import training_seed
from whetstone_common.core.outputs import check_new_folder
from whetstone_common.core.ray_cluster import LOCAL, check_address, connect
from whetstone_common.core.success_rate import wilson
from whetstone_common.nodes.resources import find
from whetstone_common.nodes.robot_files import find_robot, urdf_of

_METHOD = "ppo"
_console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, eq=False)
class _Setting:
    """Everything that was chosen, read and checked."""

    args: argparse.Namespace
    model: Trainable
    backend: Pi0Backend
    settings: PpoSettings

    @property
    def identity(self) -> dict[str, Any]:
        """What a run can only go on with."""
        args = self.args
        chosen = {name: getattr(args, name) for name in ("task", "robot", "seed", "evaluation_episodes")}
        settings = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.settings).items()}
        return chosen | {"model": weights_sha256(self.model.source), "settings": settings}


def train(args: argparse.Namespace) -> None:
    """Train until iterations or steps are used up, write the model, and say how it does.

    Raises:
        ValueError: Something does not fit; the text says what.
        DivergenceError: Not one gradient step could be taken.
    """
    check_new_folder(args.out)
    torch.set_num_threads(args.threads)
    chosen = _chosen(args)
    torch.manual_seed(args.seed)
    ppo = Ppo(ExpertFlow(chosen.backend), chosen.settings)
    with _simulators(chosen) as envs:
        collector = Collector(envs, VlaEmbodiment(ExpertFlow(chosen.backend)), ppo)
        run = OnPolicyRun(args.folder, ppo, collector, _plan(chosen), chosen.identity)
        try:
            _iterate(run, args)
        finally:
            run.close()
        _export(chosen, run)
        _judge_model(chosen, envs)


def _chosen(args: argparse.Namespace) -> _Setting:
    get_task(args.task)
    settings = _settings(args)
    if args.ray == LOCAL:
        check_address(args.ray)
    elif args.ray:
        connect(args.ray, _simulators_at_once(args, settings)).shutdown()
    model = Trainable.load(find(args.model_dir))
    backend = Pi0Backend(model.parts, device=args.device)
    _check_spec(backend.spec)
    return _Setting(args, model, backend, settings)


def _settings(args: argparse.Namespace) -> PpoSettings:
    settings: PpoSettings = read_training_settings(_METHOD, args.method_file)
    return replace(settings, episodes=args.episodes) if args.episodes else settings


def _simulators_at_once(args: argparse.Namespace, settings: PpoSettings) -> int:
    return min(args.envs, settings.episodes)


def _check_spec(spec: PolicySpec) -> None:
    if spec.action_space != "cartesian":
        raise ValueError(
            f"the model's action space is {spec.action_space!r}: the simulator's environments are cartesian"
        )
    if unknown := sorted(set(spec.cameras) - set(CAMERAS)):
        raise ValueError(f"the model wants camera {unknown[0]!r}, the simulator has {', '.join(CAMERAS)}")


@contextmanager
def _simulators(chosen: _Setting) -> Iterator[Any]:
    spec, robot = chosen.backend.spec, find_robot(chosen.args.robot)
    config = EnvironmentConfig(
        chosen.args.task, spec.image_height_px, _max_ticks(chosen.args.task), control_hz=round(1.0 / spec.dt_s, 6)
    )
    urdf = urdf_of(robot).read_text(encoding="utf-8")
    maker = EnvironmentMaker(config, robot, urdf, chosen.settings.execute_steps)
    count = _simulators_at_once(chosen.args, chosen.settings)
    envs = make_vector([maker.chunks] * count, chosen.args.ray)
    try:
        yield envs
    finally:
        envs.close()


def _max_ticks(task: str) -> int:
    path = find(f"package://robot_bringup/config/tasks/{task}.yaml")
    body = yaml.safe_load(path.read_text(encoding="utf-8"))
    return int(body["/**/episode_node"]["ros__parameters"]["max_steps"])


def _plan(chosen: _Setting) -> RunPlan:
    args = chosen.args
    return RunPlan(
        episodes=chosen.settings.episodes,
        seed=args.seed,
        scene=lambda episode: training_seed(args.seed, episode),
        evaluation_seeds=range(args.evaluation_episodes),
        evaluate_every=args.evaluate_every,
    )


def _iterate(run: OnPolicyRun, args: argparse.Namespace) -> None:
    if run.history:
        _console.print(f"goes on after iteration {len(run.history)}, {run.steps:,} steps: {args.folder}")
    elif args.evaluate_every:
        _console.print(f"as served, before: {_share(run.evaluate())}")
    while len(run.history) < args.iterations and not 0 < args.budget_steps <= run.steps:
        _console.print(_line(run.advance(), args.iterations))


def _line(done: Iteration, of: int) -> str:
    rate = wilson(done.successes, done.episodes)
    words = [f"iteration {done.number}/{of}: with noise {rate}, {done.steps:,} steps"]
    words.append(f"played {done.play_s:.0f} s, learnt {done.learn_s:.0f} s")
    if done.evaluated:
        words.append(f"as served {wilson(done.evaluated_successes, done.evaluated)}")
    if not done.successes:
        words.append("no success to learn from")
    return "; ".join(words)


def _share(results: Sequence[CollectedEpisode]) -> str:
    return str(wilson(sum(r.success for r in results), len(results)))


def _export(chosen: _Setting, run: OnPolicyRun) -> None:
    last = asdict(run.history[-1])
    extra = {_METHOD: {"task": chosen.args.task, "iterations": last["number"], "steps": last["steps"]}}
    chosen.model.export(chosen.args.out, extra)
    _console.print(f"{last['number']} iterations, {last['steps']:,} control steps: {chosen.args.out}")


def _judge_model(chosen: _Setting, envs: Any) -> None:
    """How the directory does that was written, half precision and all."""
    flow = ExpertFlow(Pi0Backend(Trainable.load(chosen.args.out).parts, device=chosen.args.device))
    judge = Collector(envs, VlaEmbodiment(flow), Ppo(flow, chosen.settings))
    _console.print(f"as served, after: {_share(judge.evaluate(range(chosen.args.evaluation_episodes)))}")
