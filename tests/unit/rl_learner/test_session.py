# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch

from experience.core.ledger import ReceiveResult
from fakes.rl_runs import SHAPE, SMALL, SMALL_DSRL, SPOOL, episode, feed, finish, recipe, session
from rl_learner.core.checkpoint import digest, load, save
from rl_learner.core.training_run import Phase, RuntimeLimits
from rl_learner.core.update_failures import StopReason
from rl_methods.common.checkpoint_error import CheckpointError


def whole(run):
    snapshot = run.snapshot()
    return digest(snapshot.learner), digest(snapshot.replays["online"]), snapshot.notes


@pytest.fixture
def run(tmp_path):
    made = session(recipe(tmp_path))
    feed(made, [t for n in (1, 2) for t in episode(n)])
    return made


def test_when_base_episodes_have_come_expect_a_warm_up_then_updates_in_proportion_to_steps(run):
    assert (run.phase, run.due, run.ready) == (Phase.WARM_UP, 10, False)
    assert bool(run.learner.scaler.fitted)
    finish(run)
    assert (run.phase, run.due, run.ready, run.learner.updates) == (Phase.ONLINE, 0, True, 10)
    feed(run, episode(3), first=7)
    finish(run)
    assert run.learner.updates == 10 + 12
    assert (run.tally.steps, run.tally.episodes, run.tally.finished, run.tally.windows) == (36, 3, 3, 9)
    assert run.tally.successes == (1, 0, 1)


def test_when_half_an_update_is_paid_per_step_expect_half_and_none_when_it_is_set_to_none(run):
    finish(run)
    run.limits = replace(run.limits, utd=0.5)
    feed(run, episode(3), first=7)
    finish(run)
    assert run.learner.updates == 16
    run.limits = replace(run.limits, utd=0.0)
    feed(run, episode(4), first=10)
    assert run.due == 0


def test_when_windows_overlap_expect_every_step_to_be_paid_once(tmp_path):
    run = session(recipe(tmp_path))
    first, second, third = episode(1)
    look = replace(first, episode_step=2, request_kind=1)
    feed(run, [first, look, second, third])
    assert (run.tally.steps, run.tally.windows, len(run.tally.steered)) == (12, 4, 3)


def test_when_the_learner_is_slow_expect_the_next_transition_to_wait_beyond_the_band(run):
    run.limits = replace(run.limits, max_pending_updates=9)
    assert not run.has_room
    run.learn()
    assert run.has_room


def test_when_a_transition_comes_twice_or_early_expect_it_once(run):
    before = whole(run)
    assert run.add(episode(2)[0], SPOOL, 4) is ReceiveResult.DUPLICATE
    assert run.add(episode(4)[0], SPOOL, 9) is ReceiveResult.GAP
    assert whole(run) == before


@pytest.mark.parametrize("name", ["rewards", "later_rewards", "mask"])
def test_when_a_number_is_not_finite_expect_it_counted_and_never_in_the_replay(run, name):
    finish(run)
    replay = digest(run.data.online.state())
    whole = episode(3)[0]
    bad = float("nan") if name == "mask" else np.full_like(getattr(whole, name), np.nan)
    assert run.add(replace(whole, **{name: bad}), SPOOL, 7) is ReceiveResult.NEW
    assert digest(run.data.online.state()) == replay
    assert (run.tally.refused, run.receipts.through, run.due) == (1, 7, 0)


def test_when_another_contract_speaks_expect_a_refusal_that_does_not_count_as_received(run):
    with pytest.raises(ValueError, match="contract"):
        run.add(replace(episode(3)[0], contract_hash="other"), SPOOL, 7)
    with pytest.raises(ValueError, match="contract"):
        run.add_prior(replace(episode(3)[0], contract_hash="other"))
    assert run.receipts.through == 6


def test_when_all_steps_are_used_expect_the_end_after_the_last_updates(tmp_path):
    run = session(recipe(tmp_path, most_steps=30))
    feed(run, [t for n in (1, 2, 3, 4) for t in episode(n)])
    finish(run)
    assert (run.phase, run.ready, run.learner.updates) == (Phase.FINISHED, True, 10 + 8)


@pytest.mark.parametrize("blocks", [SMALL, SMALL_DSRL])
@pytest.mark.parametrize("stop", [0, 3, 9, 14, 25])
def test_when_it_is_stopped_anywhere_and_resumed_expect_the_same_bits(tmp_path, blocks, stop):
    def play(made, transitions, first, stop_at):
        for seq, each in enumerate(transitions, first):
            while not made.has_room:
                if made.learner.updates == stop_at:
                    return made
                made.learn()
            made.add(each, SPOOL, seq)
        while made.due and made.learner.updates != stop_at:
            made.learn()
        return made

    what = recipe(tmp_path, blocks)
    data = [t for n in (1, 2, 3, 4) for t in episode(n)]
    unbroken = play(session(what), data, 1, -1)
    broken = play(session(what), data, 1, stop)
    save(tmp_path / "c", broken.snapshot())
    torch.manual_seed(99)
    resumed = session(what)
    resumed.restore(load(tmp_path / "c" / f"step-{broken.learner.updates:09d}"))
    play(resumed, data[resumed.receipts.through :], resumed.receipts.through + 1, -1)
    assert whole(resumed) == whole(unbroken)
    assert unbroken.learner.updates == 10 + 24


def test_when_the_configuration_differs_expect_a_refusal_that_names_it_unless_allowed(run, tmp_path):
    saved = run.snapshot()
    critic = {**SMALL["critic"], "polyak": 0.1}
    other = session(recipe(tmp_path, {**SMALL, "critic": critic}))
    with pytest.raises(CheckpointError, match=r"critic\.polyak: 0\.005, now 0\.1"):
        other.restore(saved)
    assert other.restore(saved, allow_change=True) == ["critic.polyak: 0.005, now 0.1"]
    with pytest.raises(CheckpointError, match="contract"):
        session(recipe(tmp_path), contract_hash="other").restore(saved)


def test_when_a_run_has_prior_data_expect_its_share_in_every_batch(tmp_path):
    run = session(recipe(tmp_path), limits=RuntimeLimits(max_pending_updates=0, prior_share=0.5))
    for made in episode(7):
        run.add_prior(replace(made, rewards=np.full_like(made.rewards, -1.0)))
    feed(run, [t for n in (1, 2) for t in episode(n)])
    assert int((run.learning.sample(run.data, run.limits.prior_share).reward < 0).sum()) == 4


class Breaking:
    """Makes chosen updates fail."""

    def __init__(self, run, monkeypatch, **faults):
        self.original, self.calls, self.faults = run.learner.update, 0, faults
        monkeypatch.setattr(run.learner, "update", self)
        monkeypatch.setattr(run.learner, "offline_update", self)

    def __call__(self, batch, generator, **rest):
        self.calls += 1
        if self.calls in self.faults.get("poison", ()):
            batch.actions[:] = float("nan")
        if self.calls in self.faults.get("starve", ()):
            raise self.faults["error"]
        return self.original(batch, generator, **rest)


def test_when_single_steps_diverge_expect_them_left_out_and_the_run_to_go_on(run, monkeypatch):
    Breaking(run, monkeypatch, poison=(2, 3, 5))
    run.learn()
    before = digest(run.learner.state())
    assert not run.learn()
    assert digest(run.learner.state()) == before
    finish(run)
    assert (run.failures.skipped, run.failures.halt, run.learner.updates, run.ready) == (3, None, 7, True)


def test_when_three_steps_in_a_row_diverge_expect_the_run_to_halt_with_what_it_had(run, monkeypatch):
    Breaking(run, monkeypatch, poison=(4, 5, 6))
    for _ in range(3):
        run.learn()
    before = digest(run.learner.state())
    finish(run)
    assert (run.failures.halt, run.due, run.ready, run.failures.skipped) == (StopReason.DIVERGED, 0, False, 3)
    assert "nan" in run.problem
    assert digest(run.learner.state()) == before
    assert run.has_room
    feed(run, episode(3), first=7)
    assert run.receipts.through == 9


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
     RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")],
)  # fmt: skip
def test_when_memory_runs_out_expect_half_the_batch_once_and_then_the_end_of_learning(run, monkeypatch, error):
    Breaking(run, monkeypatch, starve=(2, 5), error=error)
    before = digest(run.learner.state())
    run.learn()
    assert digest(run.learner.state()) != before
    before = digest(run.learner.state())
    run.learn()
    assert (run.failures.batch, run.failures.halt, digest(run.learner.state())) == (4, None, before)
    finish(run)
    assert (run.failures.halt, run.failures.skipped, run.learner.updates) == (StopReason.OUT_OF_MEMORY, 2, 3)


def test_when_something_else_fails_expect_it_to_be_heard_of(run, monkeypatch):
    Breaking(run, monkeypatch, starve=(1,), error=RuntimeError("CUDA error: an illegal memory access"))
    with pytest.raises(RuntimeError, match="illegal"):
        run.learn()


def test_when_the_learning_rate_is_turned_expect_it_in_every_optimizer_and_the_recipes_at_zero(run):
    run.limits = replace(run.limits, learning_rate=0.25)
    run.learn()
    assert {g["lr"] for o in run.learner.optimizers().values() for g in o.param_groups} == {0.25}
    run.limits = replace(run.limits, learning_rate=0.0)
    run.learn()
    assert {g["lr"] for o in run.learner.optimizers().values() for g in o.param_groups} == {3e-4}


def test_when_the_shape_is_planned_expect_it_to_be_of_the_contract():
    assert SHAPE.of("candidates") == (2, 4, 7)


def test_when_only_the_critical_phase_is_learnt_expect_other_windows_counted_and_neither_kept_nor_paid_for(tmp_path):
    run = session(recipe(tmp_path))
    run.data.spec = replace(run.data.spec, critical_phase_only=True)
    outside = [replace(made, critical_phase=False) for n in (1, 2, 3) for made in episode(n)]
    feed(run, outside)
    assert (len(run.data.online), run.tally.windows, run.tally.steps, run.tally.finished) == (0, 0, 36, 3)
    assert run.phase is Phase.COLLECT
    assert run.status == "collect: 0 windows of a critical phase, learning begins with 2"
    following = feed(run, episode(4), first=10)
    assert (run.phase, len(run.data.online)) == (Phase.WARM_UP, 3)
    finish(run)
    before = run.learner.updates
    feed(run, [replace(made, critical_phase=False) for made in episode(5)], first=following)
    finish(run)
    assert run.learner.updates == before


def test_when_learning_begins_with_successes_expect_those_of_the_base_as_prior_data(tmp_path):
    run = session(recipe(tmp_path))
    run.data.spec = replace(run.data.spec, base_successes=True)
    feed(run, [t for n in (2, 4) for t in episode(n)])
    assert run.phase is Phase.COLLECT
    assert run.status == "collect: no base episode has succeeded, and expo begins with successes"
    feed(run, episode(5), first=7)
    assert (run.phase, len(run.data.prior), len(run.data.online)) == (Phase.WARM_UP, 3, 9)
    finish(run)
    feed(run, episode(7), first=10)
    assert (len(run.data.prior), len(run.data.online)) == (3, 12)
