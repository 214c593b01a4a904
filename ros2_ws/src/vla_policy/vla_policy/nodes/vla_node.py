# SPDX-License-Identifier: Apache-2.0
"""Serves a vision-language-action model, to one robot or several: observation in, features and N chunks out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vla_policy.core.protocol import BatchBackend
from vla_policy.nodes.backends import check_dtype, check_remote
from vla_policy.nodes.batch import propose
from vla_policy.nodes.model_host import ModelHost
from vla_policy.nodes.proposal_worker import Job, ProposalWorker
from vla_policy.nodes.served_robot import ServedRobot
from whetstone_common.core.reason import State
from whetstone_common.nodes.main import run
from whetstone_common.nodes.several_robots import SeveralRobotsNode

_ANNOUNCE_PERIOD_S = 1.0


class VlaNode(SeveralRobotsNode):
    """Prefix once, features out, N noises as one batch, proposal out; all in one thread of its own."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare the parameters; everything else is made by the hooks."""
        super().__init__("vla_node", package="vla_policy", sole_output="proposal", **kwargs)
        self._robots: list[ServedRobot] = []
        self._host: ModelHost | None = None
        self._worker: ProposalWorker | None = None

    # ---- hooks -----------------------------------------------------------------------------------------------------

    def check_parameters(self, values: dict[str, Any]) -> None:
        """What the backend cannot do is refused before anything moves.

        Raises:
            ParameterError: Of the backend, or of the robots.
        """
        check_remote(values)
        check_dtype(values)
        super().check_parameters(values)

    def on_setup(self) -> None:
        """Load and warm up the model, and say what it takes and gives."""
        self._host = ModelHost(self)
        self._robots = [ServedRobot(side, self._host, self._offer) for side in self.sides]
        self.create_steady_timer(_ANNOUNCE_PERIOD_S, self.announce)
        self._host.offer_swap(self._swapped)
        self.announce()

    @property
    def _served(self) -> ModelHost:
        """The model; there is one from set-up to tear-down."""
        assert self._host is not None  # noqa: S101 - callbacks come only in between
        return self._host

    def on_start(self) -> None:
        """Start the thread that works."""
        for robot in self._robots:
            robot.failures = 0
            robot.noise.open()
        self._worker = ProposalWorker(
            self.guarded(self.serve), lambda error: self.fail("worker thread", error), len(self._robots)
        )
        self._limit()
        self._say_ready()

    def on_stop(self) -> None:
        """Stop the thread; a model that hangs is left behind rather than waited for."""
        if self._worker is None:
            return
        self._worker.close()
        for robot in self._robots:
            robot.noise.close()
        self._worker.join()
        self._worker = None

    def on_teardown(self) -> None:
        """Let go of the model."""
        self._robots = []
        if self._host is not None:
            self._host.close()
            self._host = None

    def diagnostic_values(self) -> Mapping[str, object]:
        """Counters, and what is known of a policy server."""
        return {**super().diagnostic_values(), **({} if self._host is None else self._host.figures())}

    def parameters_changed(self, names: set[str]) -> None:
        """A fake model can be told to fail while it runs, and batches can be of another size."""
        if self._host is not None and any(name.startswith("fake_") for name in names):
            self._host.retell()
        self._limit()

    def _limit(self) -> None:
        if self._worker is None:
            return
        # What would be done one by one is answered one by one.
        most = self.param("max_batch") if isinstance(self._served.backend, BatchBackend) else 1
        self._worker.limit(most, self.param("batch_window_s") if self._views else 0.0)

    def announce(self) -> None:
        """Publish the contract; again and again, as a latched sample can reach a late reader after seconds."""
        for robot in self._robots:
            robot.announce()

    def _swapped(self) -> None:
        for robot in self._robots:
            robot.failures = 0
        self.announce()

    # ---- status ----------------------------------------------------------------------------------------------------

    def _say_ready(self) -> None:
        if self._views:
            self.set_state(State.READY)
        for robot in self._robots:
            robot.say_ready()

    # ---- the thread that works ---------------------------------------------------------------------------------------

    def _offer(self, job: Job) -> bool:
        return self._worker is not None and self._worker.put(job)

    def serve(self, jobs: list[Job]) -> None:
        """Work on observations of different robots, unless the model has failed too often with them."""
        host, worker = self._served, self._worker
        wanted = [job for job in jobs if not job.robot.is_given_up()]
        if worker is None or not wanted:
            return
        with host.turn:
            propose(host.backend, wanted, worker.is_displaced)
        if self._views:
            self.counters["batches"] += 1
            if self.status[0] is State.ERROR:
                self._say_ready()


def main() -> None:
    """Entry point."""
    run(VlaNode)
