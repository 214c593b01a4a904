# SPDX-License-Identifier: Apache-2.0
"""The learner: updates against the bare products and against Stable-Baselines3, replay, checkpoint, callbacks."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import Figure, summarise

from fakes.threads import one_thread
from rl_learner.core.checkpoint import save
from rl_learner.core.replay import Replay, Window
from rl_learner.core.training_run import TrainingRun
from rl_methods.common.batch import WindowShape
from rl_methods.common.critic import CriticConfig
from rl_methods.common.guard import GradientStep, Guard
from rl_methods.config import read_method_config
from rl_methods.expo.algorithm import Expo, ExpoConfig
from rl_methods.registry import settings_file

GROUP = "Learner (one thread)"
SHAPE = WindowShape(features=458, steps=8, action_dim=7, candidates=8, horizon=16, noise_dim=7, state_features=21)
METHOD = settings_file("expo")
LARGE = CriticConfig(members=10, hidden=(256, 256, 256))
WIDTHS = (256, 256)
_BAR, _MEGABYTES = 3.0, 400.0
_EPISODE = 20  # windows
_WINDOWS = 4000
_WARM_UP = 3


def run(*, repeats: int) -> list[Figure]:
    """Everything, on one thread as in the graph."""
    with one_thread():
        replay = filled(_WINDOWS)
        return [*critic(replay, repeats), *updates(replay, repeats), *storage(replay, repeats), *callbacks(repeats)]


def filled(count: int) -> Replay:
    """A replay of random windows."""
    replay = Replay(SHAPE, count)
    for window in random_windows(count):
        replay.add(window)
    return replay


def random_windows(count: int) -> Iterator[Window]:
    """Windows of the pocket VLA's sizes, in episodes of 20; each ends where the next one starts."""
    chance = np.random.default_rng(0)

    def drawn(*names: str) -> dict[str, Any]:
        return {name: chance.standard_normal(SHAPE.of(name)).astype(np.float32) for name in names}

    here = drawn("features", "candidates", "noise")
    for number in range(count):
        is_last = number % _EPISODE == _EPISODE - 1
        there = here if is_last else drawn("features", "candidates", "noise")
        yield Window(
            **here, **drawn("actions", "proposed"), next_features=there["features"],
            next_candidates=there["candidates"], reward=0.0, mask=float(not is_last), discount=0.9, valid=1.0,
            mc_return=0.5, success=1.0, human=0.0, refused=0.0,
        )  # fmt: skip
        here = drawn("features", "candidates", "noise") if is_last else there


def timed(action: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds of each call."""
    samples = []
    for _ in range(repeats + _WARM_UP):
        began_s = time.perf_counter()
        action()
        samples.append(1e3 * (time.perf_counter() - began_s))
    return samples[_WARM_UP:]


def critic(replay: Replay, repeats: int) -> list[Figure]:
    """One update of the large critic, and its matrix products alone: forward, and twice as many backward."""
    learner = Expo(ExpoConfig(SHAPE.features, critic=LARGE, edit=False)).critic
    batch = replay.sample(256)
    chunks, target, guard = batch.actions.flatten(1), torch.rand(256), Guard()

    def step() -> None:
        loss = learner.loss(batch.features, chunks, target, batch.valid)
        guard.take([GradientStep("critic", learner.optimizer, loss)])
        learner.follow()

    bare = summarise(GROUP, "products alone: 10 critics of 3 x 256, batch 256", "ms", timed(products(), repeats))
    whole = summarise(GROUP, "critic update: the same critics and batch", "ms", timed(step, repeats), baseline=bare)
    return [bare, replace(whole, bar=f"<= {_BAR:g} x the products", holds=whole.ratio <= _BAR)]


def products() -> Callable[[], object]:
    """The products of an update of the large critic: each layer once forward, for its weights, and for its input."""
    members, batch, width = LARGE.members, 256, LARGE.hidden[0]
    first = SHAPE.features + SHAPE.steps * SHAPE.action_dim
    entry = (torch.randn(batch, first), torch.randn(first, members * width))
    out = torch.randn(batch, members * width)
    x, w = torch.randn(members, batch, width), torch.randn(members, width, width)

    def run_all() -> None:
        torch.mm(*entry)
        torch.mm(entry[0].T, out)
        for _ in range(len(LARGE.hidden) - 1):
            torch.bmm(x, w)
            torch.bmm(x.transpose(1, 2), x)
            torch.bmm(x, w.transpose(1, 2))

    return run_all


def updates(replay: Replay, repeats: int) -> list[Figure]:
    """Whole updates: as shipped, and with the sizes of a plain SAC, against Stable-Baselines3 where it is there."""
    generator = torch.Generator().manual_seed(0)
    shipped = read_method_config(METHOD).for_shape(SHAPE)
    expo = shipped.settings_of(ExpoConfig, features=SHAPE.features, steps=SHAPE.steps, action_dim=SHAPE.action_dim)
    figures = [_update("EXPO update as shipped", expo, replay, shipped.schedule.batch, generator, repeats)]
    plain = ExpoConfig(
        SHAPE.features, critic=CriticConfig(members=5, hidden=WIDTHS, bounded=False), otf_backup=False,
        backup_candidates=1, edit_hidden=WIDTHS,
    )  # fmt: skip
    stable = _stable_baselines(repeats)
    ours = _update("EXPO update, 5 critics of 2 x 256, batch 256", plain, replay, 256, generator, repeats)
    if stable is None:
        return [*figures, ours]
    return [*figures, stable, replace(ours, ratio=ours.p50 / stable.p50, baseline=stable.name)]


def _update(
    name: str, config: ExpoConfig, replay: Replay, batch: int, generator: torch.Generator, repeats: int
) -> Figure:
    expo = Expo(config)
    return summarise(GROUP, name, "ms", timed(lambda: expo.update(replay.sample(batch, generator), generator), repeats))


def _stable_baselines(repeats: int) -> Figure | None:
    """An update of Stable-Baselines3's SAC with the same networks, batch and ensemble; it has no LayerNorm."""
    try:
        import gymnasium
        from stable_baselines3 import SAC
        from stable_baselines3.common.logger import configure
    except ImportError as error:
        print(f"not compared with Stable-Baselines3: {error}; `make bench` installs it", flush=True)
        return None
    actions = SHAPE.steps * SHAPE.action_dim

    class Nothing(gymnasium.Env):  # type: ignore[type-arg, misc]
        observation_space = gymnasium.spaces.Box(-10, 10, (SHAPE.features,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (actions,), np.float32)

    arguments = {"net_arch": list(WIDTHS), "n_critics": 5}
    sac = SAC("MlpPolicy", Nothing(), policy_kwargs=arguments, batch_size=256, buffer_size=_WINDOWS, device="cpu")
    sac.set_logger(configure(None, []))
    chance = np.random.default_rng(0)
    for _ in range(1000):
        seen = chance.standard_normal((1, SHAPE.features)).astype(np.float32)
        acted = chance.uniform(-1, 1, (1, actions)).astype(np.float32)
        sac.replay_buffer.add(seen, seen, acted, np.zeros(1), np.zeros(1), [{}])
    samples = timed(lambda: sac.train(gradient_steps=1, batch_size=256), repeats)
    return summarise(GROUP, "Stable-Baselines3 SAC update, 5 critics of 2 x 256, batch 256", "ms", samples)


def storage(replay: Replay, repeats: int) -> list[Figure]:
    """Replay and checkpoint."""
    generator = torch.Generator().manual_seed(0)
    more = random_windows(20 * repeats)
    megabytes = replay.nbytes / 1e6 * 100_000 / len(replay)
    memory = summarise(GROUP, "replay: 100 000 windows, with all that a method may ask for", "MB", [megabytes])
    recipe = read_method_config(METHOD)
    session = TrainingRun(recipe, SHAPE, capacity=_WINDOWS)
    session.data.online = replay
    with tempfile.TemporaryDirectory() as folder:
        saving = timed(lambda: save(Path(folder), session.snapshot()), max(3, repeats // 20))
    return [
        summarise(GROUP, "replay: one window in", "ms", timed(lambda: replay.add(next(more)), 10 * repeats)),
        summarise(GROUP, "replay: a batch of 256 out", "ms", timed(lambda: replay.sample(256, generator), repeats)),
        replace(memory, bar=f"<= {_MEGABYTES:g} MB", holds=megabytes <= _MEGABYTES),
        summarise(GROUP, f"checkpoint of the learner and {_WINDOWS} windows, to the disk", "ms", saving),
    ]


def callbacks(repeats: int) -> list[Figure]:
    """What a transition costs learner_node's executor while its thread learns without a pause."""
    import sys

    from experience.nodes.convert import from_transition
    from fakes.rl_episodes import GAMMA, C
    from fakes.rl_runs import CONTRACT, episode, write_method
    from harness.rig import Rig
    from rl_learner.nodes.learner_node import LearnerNode
    from whetstone_common.nodes.convert import from_contract

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(5e-4)
    rig = Rig()
    try:
        with tempfile.TemporaryDirectory() as folder:
            blocks = {"critic": {"members": 10, "hidden": [256, 256]}, "expo": {"edit_knots": 2}}
            schedule = {
                "base_episodes": 1,
                "warm_up_updates": 10**6,
                "batch": 256,
                "discount": GAMMA,
                "execute_steps": C,
            }
            method = write_method(Path(folder), {**blocks, "schedule": schedule})
            node: Any = rig.add(
                LearnerNode, directory=folder, method_file=str(method), candidates=2, max_pending_updates=10**6
            )
            node.on_contract(from_contract(CONTRACT))
            messages = [from_transition(made, "default", 1, seq) for seq, made in enumerate(episode(1), 1)]
            for message in messages:
                node.on_transition(message)
            rig.until(lambda: node.counters["updates"] > 0, what="it learns")
            samples = []
            for _ in range(5 * repeats):
                rig.turn(0.002)
                began_s = time.perf_counter()
                node.on_transition(messages[0])
                samples.append(1e3 * (time.perf_counter() - began_s))
            node.close()
    finally:
        rig.close()
        sys.setswitchinterval(interval_s)
    return [summarise(GROUP, "learner_node: a callback while it learns", "ms", samples, bar=1.0, bar_on="p99")]
