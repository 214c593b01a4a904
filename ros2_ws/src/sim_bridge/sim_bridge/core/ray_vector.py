# SPDX-License-Identifier: Apache-2.0
"""Vectorized environments on the machines of a Ray cluster, one CPU each; needs the optional package `ray`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from whetstone_common.core.ray_cluster import connect, reason

if TYPE_CHECKING:
    from sim_bridge.core.vector import MakeEnvironment

START_S = 300.0  # for processes that import and draw for the first time, on machines that are busy
Batch = tuple[Any, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]


class _Player:
    """One environment, in a process that Ray has started."""

    def __init__(self) -> None:
        """Empty, so that an error of the environment is told as one: Ray would call the process dead."""
        self._env: Any = None

    def place(self) -> tuple[str, str]:
        """Id and address of the node."""
        import ray

        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    def begin(self, make: MakeEnvironment) -> tuple[gymnasium.Space, gymnasium.Space, dict[str, Any], str | None]:
        """Make the environment; returns spaces of observation and action, metadata and render mode."""
        self._env = make()
        return self._env.observation_space, self._env.action_space, self._env.metadata, self._env.render_mode

    def reset(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """As the environment."""
        return self._env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the environment."""
        return self._env.step(action)


class RayVectorEnv(VectorEnv):
    """Environments that step together, each an actor of Ray; finished episodes are not reset by themselves.

    An instance connects this process to Ray and disconnects it when it is closed: there is one at a time.

    Args:
        makers: Makes each environment, where it runs; at least one, and all with the same spaces.
        address: Of the cluster: `auto`, `local` or HOST:PORT.

    Attributes:
        nodes: Id of the node on which each runs.

    Raises:
        ValueError: The address is none.
        RuntimeError: Ray is missing, not there, too small, or an environment could not be made; the text says which.
    """

    def __init__(self, makers: Sequence[MakeEnvironment], address: str) -> None:
        self.num_envs = len(makers)
        self._ray = connect(address, self.num_envs)
        self._places: list[str] = []
        try:
            actor = self._ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(_Player)
            self._players: list[Any] = [actor.remote() for _ in makers]
            self.nodes = self._wait_started()
            asked = [player.begin.remote(make) for player, make in zip(self._players, makers, strict=True)]
            said = self._answers(enumerate(asked))
        except BaseException:
            self.close()
            raise
        self.single_observation_space, self.single_action_space, metadata, self.render_mode = said[0]
        self.metadata = metadata | {"autoreset_mode": AutoresetMode.DISABLED}
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._newest: list[Any] = [None] * self.num_envs

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all, or those of `options["reset_mask"]` (bool [environments]); as `SyncVectorEnv`."""
        others = dict(options or {})
        mask = np.asarray(others.pop("reset_mask", np.ones(self.num_envs, dtype=bool)))
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(f"reset_mask is {mask!r}, expected {self.num_envs} booleans, one of them True at least")
        seeds = [seed + row for row in range(self.num_envs)] if isinstance(seed, int) else seed
        seeds = [None] * self.num_envs if seeds is None else list(seeds)
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds, expected {self.num_envs}")
        rows = np.flatnonzero(mask).tolist()
        asked = [self._players[row].reset.remote(seeds[row], others or None) for row in rows]
        infos: dict[str, Any] = {}
        for row, (observation, info) in zip(rows, self._answers(zip(rows, asked, strict=True)), strict=True):
            self._newest[row] = observation
            infos = self._add_info(infos, info, row)
        return self._observations(), infos

    def step(self, actions: Any) -> Batch:
        """One step of every environment."""
        pairs = zip(self._players, iterate(self.action_space, actions), strict=True)
        answers = self._answers(enumerate([player.step.remote(action) for player, action in pairs]))
        infos: dict[str, Any] = {}
        for row, answer in enumerate(answers):
            infos = self._add_info(infos, answer[4], row)
        self._newest, rewards, terminated, truncated, _ = (list(column) for column in zip(*answers, strict=True))
        return (
            self._observations(),
            np.array(rewards, dtype=np.float64),
            np.array(terminated, dtype=np.bool_),
            np.array(truncated, dtype=np.bool_),
            infos,
        )

    def close_extras(self, **_kwargs: Any) -> None:
        """End the environments, which are processes of this connection, and disconnect."""
        self._ray.shutdown()

    def _observations(self) -> Any:
        """The newest of each, in memory of its own: what Ray hands out cannot be written to."""
        empty: Any = create_empty_array(self.single_observation_space, self.num_envs, fn=np.zeros)
        return concatenate(self.single_observation_space, self._newest, empty)

    def _wait_started(self) -> list[str]:
        asked = [player.place.remote() for player in self._players]
        _, waiting = self._ray.wait(asked, num_returns=len(asked), timeout=START_S)
        if waiting:
            free = int(self._ray.available_resources().get("CPU", 0))
            raise RuntimeError(
                f"{len(waiting)} of {len(asked)} environments have not started within {START_S:.0f} s, "
                f"as each wants a CPU of Ray: {free} are free"
            )
        self._places = ["one of Ray's nodes"] * self.num_envs
        nodes = self._answers(enumerate(asked))
        self._places = [f"node {address} ({node[:8]})" for node, address in nodes]
        return [node for node, _ in nodes]

    def _answers(self, asked: Iterable[tuple[int, Any]]) -> list[Any]:
        """What the environments of these rows have answered; waits for all of them.

        Raises:
            RuntimeError: One has failed or is lost; the text says which, where, and why.
        """
        from ray.exceptions import RayError, RayTaskError

        answers = []
        for row, reference in asked:
            try:
                answers.append(self._ray.get(reference))
            except RayTaskError as error:
                why = f"{type(error.cause).__name__}: {error.cause}"
                raise RuntimeError(f"environment {row} on {self._places[row]} failed: {why}") from error
            except RayError as error:
                raise RuntimeError(f"environment {row} on {self._places[row]} is lost: {reason(error)}") from error
        return answers
