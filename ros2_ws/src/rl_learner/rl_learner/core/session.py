# SPDX-License-Identifier: Apache-2.0
"""A training run without ROS and without a clock: transitions in, updates owed, weights and checkpoints out.

What it becomes follows from the transitions, in their order, the recipe and the seed; with a band of 0 from nothing
else, however fast it is and however often it was stopped and resumed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from rl_learner.core.checkpoint import Snapshot
from rl_learner.core.guard import DivergenceError
from rl_learner.core.intake import DiscountError, Tally, window_of
from rl_learner.core.ledger import Offer, Receipts
from rl_learner.core.recipe import Recipe, differences
from rl_learner.core.replay import Batch, Replay, ReplayShape, Window, mixed
from rl_learner.core.transition import Transition
from vla_policy.core.files import CheckpointError

MOST_SKIPPED = 3  # steps in a row that may be refused
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


class Phase(Enum):
    """Where a run is."""

    COLLECT = "collect"  # the base plays, nothing is learnt
    WARM_UP = "warm_up"  # on what followed in those episodes
    ONLINE = "online"
    FINISHED = "finished"  # all control steps were used


class Halt(Enum):
    """Why a run learns no more: weights stay as they are and are published no more, until it is started again."""

    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True)
class Limits:
    """What may be turned while it runs.

    Attributes:
        utd: Updates per control step; negative takes the recipe's.
        learning_rate: Of every network; 0 takes the recipe's.
        prior_share: Of a batch, from the prior data.
        band: Updates that may be owed before the next transition is taken in; 0 takes each in only when nothing is.
        most_steps: Control steps in all; 0 takes the recipe's.
    """

    utd: float = -1.0
    learning_rate: float = 0.0
    prior_share: float = 0.5
    band: int = 2000
    most_steps: int = 0


class Session:
    """Replay, learner, books and debts of one run.

    Args:
        recipe: The method.
        shape: Of a window.
        seed: Of weights and draws.
        capacity: Windows of the replay.
        limits: May be exchanged at any time.
        contract_hash: Contract that all numbers are in.

    Attributes:
        receipts: Which transitions are in the replay.
        tally: What they amount to.
        phase: Where the run is.
        owed: Updates that the data have paid for and that were not done.
        batch: Windows per update.
        skipped: Steps that the guard refused.
        halt: Why nothing is learnt any more, None while something is.
        problem: What was refused last.
        mismatch: Why the last transition of another discount was refused, empty when there was none.
        metrics: Of the last update.
    """

    def __init__(
        self,
        recipe: Recipe,
        shape: ReplayShape,
        *,
        seed: int = 0,
        capacity: int = 100_000,
        limits: Limits | None = None,
        contract_hash: str = "",
    ) -> None:
        self.recipe, self.shape, self.seed, self.contract_hash = recipe, shape, seed, contract_hash
        self.limits = limits or Limits()
        torch.manual_seed(seed)
        self.learner = recipe.learner(shape)
        self.generator = torch.Generator().manual_seed(seed)
        self.online = Replay(shape, capacity)
        self.prior: Replay | None = None
        self.receipts, self.tally, self.phase = Receipts(), Tally(), Phase.COLLECT
        self.owed, self.batch = 0.0, recipe.schedule.batch
        self.skipped = self._in_row = 0
        self.halt: Halt | None = None
        self.problem = self.mismatch = ""
        self.metrics: dict[str, float] = {}
        self._warm_up_left = 0
        self._rates = {name: o.param_groups[0]["lr"] for name, o in self.learner.optimizers().items()}

    # -- data -------------------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether the next transition may be taken in: a learner that is slow lets them wait where they are stored."""
        return self.halt is not None or self.due <= self.limits.band

    def add(self, made: Transition, spool: int, seq: int) -> Offer:
        """Takes a transition in, once; a bad one is counted, and never enters.

        Raises:
            ValueError: It is of another contract or spool; it does not count as received.
        """
        if self.receipts.spool not in (0, spool):
            raise ValueError(f"spool {spool}, this run's is {self.receipts.spool}: its transitions were exchanged")
        self._check_contract(made)
        offer = self.receipts.offer(spool, seq)
        if offer is Offer.NEW:
            self._take(made)
        return offer

    def skip_to(self, first: int) -> None:
        """The sender has nothing before `first` any more."""
        self.tally.lost += self.receipts.skip_to(first)

    def _check_contract(self, made: Transition) -> None:
        if self.contract_hash and made.contract_hash != self.contract_hash:
            raise ValueError(f"contract {made.contract_hash[:12]}, this run's is {self.contract_hash[:12]}")

    def _take(self, made: Transition) -> None:
        try:
            self.online.add(self._window(made))
        except ValueError as error:
            if isinstance(error, DiscountError):
                self.tally.other_discount += 1
                self.mismatch = str(error)
            self.tally.refused += 1
            self.problem = f"window refused: {error}"
            return
        self.tally.windows += 1
        fresh = self.tally.add(made)
        if self.phase in (Phase.WARM_UP, Phase.ONLINE):
            self.owed += self.utd * fresh
        if self.phase is Phase.COLLECT and self.tally.finished >= self.recipe.schedule.base_episodes:
            self._begin()
        self._maybe_finish()

    def _window(self, made: Transition) -> Window:
        return window_of(made, self.shape, self.recipe.schedule.discount)

    def _maybe_finish(self) -> None:
        if self.phase is Phase.ONLINE and self.tally.steps >= self.most_steps:
            self.phase = Phase.FINISHED

    def add_prior(self, made: Transition) -> None:
        """Adds a transition of another run, which every batch has its share of.

        Raises:
            ValueError: It does not fit.
        """
        self._check_contract(made)
        if self.prior is None:
            self.prior = Replay(self.shape, self.online.capacity)
        self.prior.add(self._window(made))

    def _begin(self) -> None:
        seen = [r.rows(torch.arange(len(r))).features for r in (self.online, self.prior) if r is not None and len(r)]
        self.learner.fit_scaler(torch.cat(seen))
        self.phase, self._warm_up_left = Phase.WARM_UP, self.recipe.schedule.warm_up_updates
        if self._warm_up_left == 0:
            self.phase = Phase.ONLINE

    # -- learning ---------------------------------------------------------------------------------------------------

    @property
    def utd(self) -> float:
        """Updates per control step."""
        return self.limits.utd if self.limits.utd >= 0.0 else self.recipe.schedule.updates_per_step

    @property
    def most_steps(self) -> int:
        """Control steps in all."""
        return self.limits.most_steps or self.recipe.schedule.most_steps

    @property
    def due(self) -> int:
        """Updates to do now."""
        return 0 if self.halt else self._warm_up_left + int(self.owed)

    @property
    def ready(self) -> bool:
        """Whether there are weights that are worth playing."""
        return self.phase in (Phase.ONLINE, Phase.FINISHED) and self.halt is None

    def learn(self) -> bool:
        """One update; returns whether it was applied. One that was refused is not owed any more."""
        is_warm_up = self._warm_up_left > 0
        try:
            self._set_rates()
            batch = self._sample()
            self.metrics = self.learner.update(batch, self.generator, mc_share=1.0 if is_warm_up else None)
            self._in_row = 0
        except DivergenceError as error:
            self._refused(str(error))
        except RuntimeError as error:  # torch.OutOfMemoryError is one, and so is what the CPU's allocator raises
            if not any(text in str(error).lower() for text in _OUT_OF_MEMORY):
                raise
            self._starved(str(error))
        self._pay(is_warm_up=is_warm_up)
        return self._in_row == 0 and self.halt is None

    def _sample(self) -> Batch:
        return mixed(self.prior, self.online, self.limits.prior_share, self.batch, self.generator)

    def _pay(self, *, is_warm_up: bool) -> None:
        if is_warm_up:
            self._warm_up_left -= 1
            if self._warm_up_left == 0:
                self.phase = Phase.ONLINE
                self._maybe_finish()
        else:
            self.owed -= 1.0

    def _refused(self, problem: str) -> None:
        self.skipped, self._in_row, self.problem = self.skipped + 1, self._in_row + 1, problem
        if self._in_row >= MOST_SKIPPED:
            self.halt = Halt.DIVERGED

    def _starved(self, problem: str) -> None:
        self.skipped, self.problem = self.skipped + 1, problem.splitlines()[0]
        if self.batch < self.recipe.schedule.batch:
            self.halt = Halt.OUT_OF_MEMORY
        else:
            self.batch = max(2, self.batch // 2)

    def _set_rates(self) -> None:
        for name, optimizer in self.learner.optimizers().items():
            for group in optimizer.param_groups:
                group["lr"] = self.limits.learning_rate or self._rates[name]

    # -- as a checkpoint ----------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Everything, as copies."""
        learner = self.learner.state() | {"generator": self.generator.get_state()}
        replays = {"online": self.online.state()} | ({"prior": self.prior.state()} if self.prior else {})
        counts = {
            "owed": self.owed, "warm_up_left": self._warm_up_left, "skipped": self.skipped,
        }  # fmt: skip
        notes = {
            "config": self.config(),
            "contract_hash": self.contract_hash,
            "shape": asdict(self.shape),
            "phase": self.phase.value,
            "receipts": {"spool": str(self.receipts.spool), "through": self.receipts.through},
            "tally": asdict(self.tally),
            "counts": counts,
        }
        return Snapshot(self.learner.updates, learner, replays, json.loads(json.dumps(notes)))

    def config(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one before."""
        return {**self.recipe.resolved(), "seed": self.seed, "capacity": self.online.capacity}

    def restore(self, saved: Snapshot, *, allow_change: bool = False) -> list[str]:
        """Goes on from a checkpoint; returns what differs from its configuration.

        Args:
            saved: As `snapshot` made it.
            allow_change: Whether the configuration may differ.

        Raises:
            CheckpointError: It does not fit this session; the text says in what.
        """
        notes = saved.notes
        changed = differences(notes["config"], self.config())
        if changed and not allow_change:
            raise CheckpointError(f"the configuration differs from the checkpoint's: {'; '.join(changed)}")
        if notes["contract_hash"] != self.contract_hash or notes["shape"] != asdict(self.shape):
            raise CheckpointError("the checkpoint was made with another contract: features, horizon or scales differ")
        try:
            self._restore(saved.learner, saved.replays, notes)
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"the checkpoint does not fit: {error}") from error
        return changed

    def _restore(self, learner: Mapping[str, Tensor], replays: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        self.learner.restore({name: value for name, value in learner.items() if name != "generator"})
        self.generator.set_state(learner["generator"])
        self.online.restore(replays["online"])
        if "prior" in replays:
            self.prior = Replay(self.shape, self.online.capacity)
            self.prior.restore(replays["prior"])
        self.receipts = Receipts(int(notes["receipts"]["spool"]), notes["receipts"]["through"])
        counted: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in notes["tally"].items()}
        self.tally = Tally(**counted)
        self.phase = Phase(notes["phase"])
        counts = notes["counts"]
        self.owed, self._warm_up_left = counts["owed"], counts["warm_up_left"]
        self.skipped = counts["skipped"]
