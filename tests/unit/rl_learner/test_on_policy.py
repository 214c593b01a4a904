# SPDX-License-Identifier: Apache-2.0
"""On-policy runs: which episodes are played, what they leave for learning, and how a run goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fakes.threads import one_thread
from fakes.toy_env import CHUNK, TRIES, Identity, identity_envs
from fakes.toy_flow import NetworkFlow
from rl_learner.core.on_policy.collector import Collector
from rl_learner.core.on_policy.run import OnPolicyRun, RunPlan
from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.ppo.algorithm import Ppo
from rl_methods.ppo.settings import PpoSettings

SETTINGS = PpoSettings(
    execute_steps=CHUNK, batch=8, epochs=1, critic_warm_up=0, critic_hidden=(8,), actor_learning_rate=1e-3
)
PLAN = RunPlan(episodes=6, seed=3, scene=lambda n: 100 + n, evaluation_seeds=range(5), evaluate_every=2)


@pytest.fixture(autouse=True)
def on_one_thread():
    with one_thread():
        yield


def collector(envs=2, **changes):
    ppo = Ppo(NetworkFlow(), replace(SETTINGS, **changes))
    return Collector(identity_envs(envs), Identity(), ppo), ppo


def run_in(folder, plan=PLAN, identity=None):
    made, ppo = collector()
    return OnPolicyRun(folder, ppo, made, plan, identity or {"task": "identity"}), ppo


@pytest.mark.parametrize("envs", [1, 3, 11])
def test_when_there_are_more_or_fewer_environments_expect_the_same_decisions(envs):
    wanted, results = collector(2)[0].explore(range(7), (0, 1))
    found, again = collector(envs)[0].explore(range(7), (0, 1))
    assert again == results and [r.seed for r in results] == list(range(7))
    torch.testing.assert_close(found.chains.points, wanted.chains.points, atol=1e-5, rtol=1e-5)
    for name in ("executed", "rewards", "last", "terminal"):
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name
    assert collector(envs)[0].evaluate(range(7)) == collector(2)[0].evaluate(range(7))


def test_when_episodes_are_played_expect_whole_ones_row_after_row():
    decisions, results = collector()[0].explore(range(20), (0, 1))
    assert {r.success for r in results} == {True, False}
    lengths = [r.ticks // CHUNK for r in results]
    assert len(decisions) == sum(lengths)
    row = 0
    for result, length in zip(results, lengths, strict=True):
        rows = slice(row, row + length)
        assert decisions.last[rows].tolist() == [False] * (length - 1) + [True]
        assert decisions.rewards[rows].tolist() == [0.0] * (length - 1) + [float(result.success)]
        assert result.success or length == TRIES
        targets = decisions.context.features[rows, 0]
        assert bool((targets == targets[0]).all())
        row += length


def test_when_the_time_is_up_expect_the_last_observation_to_count_only_if_asked():
    plain, results = collector()[0].explore(range(20), (0, 1))
    asked, _ = collector(bootstrap_timeouts=True)[0].explore(range(20), (0, 1))
    assert torch.equal(plain.terminal, plain.last)
    failed = [not r.success for r in results]
    assert (asked.last & ~asked.terminal)[asked.last].tolist() == failed
    at_the_end = asked.next_features[asked.last & ~asked.terminal]
    assert bool((at_the_end[:, 2] == 1.0).all()) and len(at_the_end) == sum(failed)
    torch.testing.assert_close(asked.next_features[~asked.last], plain.next_features[~plain.last])


def test_when_another_process_goes_on_expect_the_run_that_never_stopped(tmp_path):
    straight, ppo = run_in(tmp_path / "straight")
    for _ in range(4):
        straight.advance()
    first, _ = run_in(tmp_path / "stopped")
    first.advance()
    first.advance()
    second, resumed = run_in(tmp_path / "stopped")
    assert len(second.history) == 2 and second.steps == first.steps > 0
    second.advance()
    second.advance()
    wanted, found = ppo.state(), resumed.state()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    timeless = [[replace(i, play_s=0.0, learn_s=0.0) for i in run.history] for run in (straight, second)]
    assert timeless[0] == timeless[1]
    assert [i.evaluated for i in second.history] == [0, 5, 0, 5]
    assert list((tmp_path / "stopped" / "tensorboard").iterdir())


def test_when_a_run_is_begun_otherwise_expect_the_difference_named(tmp_path):
    run_in(tmp_path)[0].advance()
    with pytest.raises(ValueError, match="begun otherwise .task: identity, now other."):
        run_in(tmp_path, identity={"task": "other"})


def test_when_a_checkpoint_is_damaged_expect_the_one_before(tmp_path):
    run, _ = run_in(tmp_path)
    run.advance()
    run.advance()
    newest = sorted((tmp_path / "checkpoints").glob("step-*"))[-1] / "learner.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert len(run_in(tmp_path)[0].history) == 1
    oldest = sorted((tmp_path / "checkpoints").glob("step-*"))[0] / "learner.safetensors"
    oldest.unlink()
    with pytest.raises(CheckpointError, match="none of 2 checkpoints is whole"):
        run_in(tmp_path)
