# SPDX-License-Identifier: Apache-2.0
"""The seam for methods: nothing that cannot be played goes in or out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from rl_methods.base import ChunkSource, NoisePolicy, PolicyInput, PolicyOutput, RuntimeConfig
from rl_methods.registry import METHODS, MethodEntry, make_policy
from vla_policy.core.steering.critical_phase import CriticalPhase
from vla_policy.core.steering.decide import ProposalError, decide, steer
from whetstone_common.core.stamp import Stamp


def situation(n: int = 4) -> PolicyInput:
    chance = np.random.default_rng(0)
    return PolicyInput(
        features=np.zeros(74, np.float32),
        proprio=np.zeros(10, np.float32),
        candidates=chance.standard_normal((n, 16, 7), dtype=np.float32),
        noise=chance.standard_normal((n, 16, 7), dtype=np.float32),
        noise_steered=False,
        seed=3,
        sequence=4,
    )


class Returns:
    """A method that returns what it was given."""

    def __init__(self, chunk: np.ndarray) -> None:
        self.chunk = chunk

    def act(self, _situation: PolicyInput, _tuning: RuntimeConfig) -> PolicyOutput:
        return PolicyOutput(chunk=self.chunk, candidate=-1, source=ChunkSource.ACTOR)

    def noise(
        self, _features: np.ndarray, _shape: tuple, _seed: int, _sequence: int, _tuning: RuntimeConfig
    ) -> np.ndarray:
        return self.chunk


@pytest.mark.parametrize("n", [1, 8])
def test_when_the_method_is_none_expect_the_first_candidate(n: int) -> None:
    given = situation(n)
    choice = decide(make_policy("none"), given, RuntimeConfig())
    assert (choice.chunk == given.candidates[0]).all() and choice.candidate == 0 and choice.source == ChunkSource.BASE
    assert not isinstance(make_policy("none"), NoisePolicy)


def test_when_a_method_is_unknown_expect_its_name_and_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"'expert'.*none"):
        make_policy("expert")


@pytest.mark.parametrize("field", ["candidates", "noise", "features", "proprio"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_when_a_proposal_is_not_finite_expect_refusal_that_names_the_field(field: str, value: float) -> None:
    given = situation()
    spoiled = getattr(given, field).copy()
    spoiled.flat[-1] = value
    with pytest.raises(ProposalError, match=field) as refused:
        decide(make_policy("none"), replace(given, **{field: spoiled}), RuntimeConfig())
    assert refused.value.kind == "not_finite"


@pytest.mark.parametrize("shape", [(0, 16, 7), (3, 16, 7), (16, 7)])
def test_when_candidates_and_noises_do_not_pair_up_expect_refusal(shape: tuple[int, ...]) -> None:
    with pytest.raises(ProposalError):
        decide(make_policy("none"), replace(situation(), candidates=np.zeros(shape, np.float32)), RuntimeConfig())


@pytest.mark.parametrize("chunk", [np.zeros((16, 6)), np.zeros((8, 7)), np.full((16, 7), np.nan)])
def test_when_a_method_returns_what_cannot_be_played_expect_an_error(chunk: np.ndarray) -> None:
    with pytest.raises(RuntimeError, match="policy returned"):
        decide(Returns(chunk), situation(), RuntimeConfig())


@pytest.mark.parametrize("noise", [np.zeros((4, 16, 6)), np.full((4, 16, 7), np.inf)])
def test_when_a_method_steers_with_what_cannot_be_denoised_expect_an_error(noise: np.ndarray) -> None:
    with pytest.raises(RuntimeError, match="policy returned"):
        steer(Returns(noise), np.zeros(74, np.float32), (4, 16, 7), 0, 0, RuntimeConfig())


def test_when_an_episode_is_repeated_expect_the_same_random_numbers() -> None:
    assert situation().generator().random() == situation().generator().random()
    assert situation().generator().random() != replace(situation(), sequence=5).generator().random()


class Still(Returns):
    """Plays zeros."""

    def __init__(self) -> None:
        super().__init__(np.zeros((16, 7), np.float32))


def test_when_a_method_is_registered_expect_it_to_be_built_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "still", MethodEntry("does nothing", f"{__name__}:Still"))
    assert decide(make_policy("still"), situation(), RuntimeConfig()).source == ChunkSource.ACTOR


def test_when_the_method_is_none_expect_no_torch() -> None:
    words = ("import sys", "from rl_methods.registry import make_policy", "make_policy('none')")
    code = "; ".join([*words, "print('torch' in sys.modules)"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def at(phase: CriticalPhase, episode: int, step: int, from_step: int) -> bool:
    return phase.at(Stamp(1, episode, 1), step, from_step)


def test_when_nobody_says_anything_expect_the_tasks_step_to_begin_the_critical_phase() -> None:
    phase = CriticalPhase()
    assert [at(phase, 1, step, 40) for step in (0, 39, 40, 100)] == [False, False, True, True]
    assert at(phase, 1, 0, 0) and not at(phase, 1, 1000, -1)


def test_when_the_operator_speaks_expect_their_word_until_the_next_episode() -> None:
    phase = CriticalPhase()
    assert not at(phase, 1, 8, -1)
    phase.say(is_critical=True)
    assert at(phase, 1, 16, -1)
    phase.say(is_critical=False)
    assert not at(phase, 1, 24, 0)
    assert at(phase, 2, 0, 0) and not at(phase, 3, 0, -1)
