# SPDX-License-Identifier: Apache-2.0
"""The simulator as gymnasium environments: one action per control tick, or one chunk per decision.

Legend: C steps of a chunk, S image size (px).
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from sim_bridge.core.scene import CAMERAS
from sim_bridge.core.tcp_simulation import LimitedCommand, Limiter, TcpSimulation
from sim_bridge.core.truth import Truth
from whetstone_common.core.cartesian import displaced
from whetstone_common.core.contract import CARTESIAN_ACTIONS, CARTESIAN_PROPRIO

Observation = dict[str, Any]
Info = dict[str, Any]

INSTRUCTION_CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " "
MAX_INSTRUCTION = 512
_MAX_SEED = 2**32 - 1  # of an episode that is reset without a seed


@dataclass(frozen=True)
class EnvironmentConfig:
    """Observations and episode length of an environment.

    Attributes:
        task: Name of the task.
        image_size_px: S, width and height of the images.
        max_ticks: Control ticks after which an episode is truncated.
        control_hz: Ticks per second.
    """

    task: str
    image_size_px: int = 96
    max_ticks: int = 160
    control_hz: float = 20.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: With name, value and range.
        """
        for name, most in (("image_size_px", 4096), ("max_ticks", 1_000_000)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed: 1..{most}")


class Environment(gymnasium.Env):
    """A task, one action per control tick.

    Action: float32 [7], a TCP target relative to the reference pose, physical units, gripper absolute
    (`CARTESIAN_ACTIONS`). The reference is the TCP pose at reset, or at the last `set_reference`.
    Observation: `images` (camera -> uint8 [S, S, 3]), `proprio` float32 [10] (`CARTESIAN_PROPRIO`), `instruction`.
    Reward: 1 at the tick at which the task succeeds, else 0. Success terminates, `max_ticks` truncates. An episode that
    is over does not change: further actions have no effect and reward 0.
    Info: `success`, `stage`, `progress`, `tick`, `is_rejected` (of the last action).

    Args:
        config: Task, images, length of an episode.
        limiter: The arm's limits, at the rate of `config`.

    Attributes:
        simulation: World, arm and expert.
        command: What was commanded last, after the limits; None before the first action.
        truth: After the last action.
        reference: TCP pose that actions are relative to.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - gymnasium's own convention
    render_mode = "rgb_array"

    def __init__(self, config: EnvironmentConfig, limiter: Limiter) -> None:
        self.config = config
        self.simulation = TcpSimulation(
            config.task, limiter, image_size_px=config.image_size_px, control_hz=config.control_hz
        )
        self.action_space = spaces.Box(-np.inf, np.inf, (len(CARTESIAN_ACTIONS),), np.float32)
        self.observation_space = observation_space(config.image_size_px)
        self.command: LimitedCommand | None = None
        self.truth: Truth = self.simulation.truth()
        self.set_reference()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Start the episode of `seed`; without one, with a seed derived from the last one."""
        super().reset(seed=seed)
        episode = int(self.np_random.integers(_MAX_SEED)) if seed is None else seed
        self.simulation.reset(episode)
        self._begin()
        return self.observe(), self.info()

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, float, bool, bool, Info]:
        """Run one control tick towards a target."""
        reward = self.advance(action)
        return self.observe(), reward, self.is_terminated, self.is_truncated, self.info()

    def advance(self, action: npt.NDArray[np.float32]) -> float:
        """Run one control tick without an observation; returns its reward.

        Raises:
            ValueError: The action is not 7 numbers.
        """
        action = np.asarray(action)
        if action.shape != self.action_space.shape:
            raise ValueError(f"the action has shape {action.shape}, expected {self.action_space.shape}")
        if self.is_over:
            return 0.0
        pose, opening = displaced(self.reference, action), float(np.clip(action[-1], 0.0, 1.0))
        self.command = self.simulation.drive(pose, opening)
        self.truth = self.simulation.truth()
        return float(self.truth.success)

    def set_reference(self) -> None:
        """Set the reference pose to the current TCP pose; called at the start of a chunk."""
        self.reference = self.simulation.world.tcp_pose()

    def observe(self) -> Observation:
        """Current observation."""
        world = self.simulation.world
        images = dict(self.simulation.images())
        return {"images": images, "proprio": self.simulation.proprio(), "instruction": world.instruction}

    def info(self) -> Info:
        """Ground truth, which a real arm does not have."""
        return {
            "success": self.truth.success,
            "stage": int(self.truth.stage),
            "progress": float(self.truth.progress),
            "tick": self.simulation.world.tick,
            "is_rejected": self.command is not None and self.command.is_rejected,
        }

    @property
    def is_terminated(self) -> bool:
        """Whether the task has succeeded."""
        return self.truth.success

    @property
    def is_truncated(self) -> bool:
        """Whether `max_ticks` is reached without success."""
        return not self.truth.success and self.simulation.world.tick >= self.config.max_ticks

    @property
    def is_over(self) -> bool:
        """Whether the episode was terminated or truncated."""
        return self.is_terminated or self.is_truncated

    def render(self) -> npt.NDArray[np.uint8]:
        """The front camera, uint8 [S, S, 3]."""
        return self.simulation.world.render("front").copy()

    def close(self) -> None:
        """Free the OpenGL context."""
        self.simulation.close()

    def _begin(self) -> None:
        self.command, self.truth = None, self.simulation.truth()
        self.set_reference()


class ChunkEnvironment(gymnasium.Env):
    """The same task, one chunk per step: the arm executes C actions relative to the TCP pose at the start of the step.

    Action: float32 [C, 7]. Reward: the sum over the executed ticks. A chunk ends early if the episode ends
    or the arm's limits reject an action. No images are rendered between the ticks, so a step costs only its physics.
    Info: as `Environment`, and `ticks`, how many were executed.

    Args:
        environment: Executes the ticks.
        execute_steps: C.

    Raises:
        ValueError: `execute_steps` is below 1.
    """

    metadata = Environment.metadata
    render_mode = Environment.render_mode

    def __init__(self, environment: Environment, execute_steps: int) -> None:
        if execute_steps < 1:
            raise ValueError(f"execute_steps is {execute_steps}, must be at least 1")
        self.environment, self.execute_steps = environment, execute_steps
        shape = (execute_steps, len(CARTESIAN_ACTIONS))
        self.action_space = spaces.Box(-np.inf, np.inf, shape, np.float32)
        self.observation_space = environment.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Start the episode of `seed`."""
        observation, info = self.environment.reset(seed=seed, options=options)
        return observation, info | {"ticks": 0}

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, float, bool, bool, Info]:
        """Execute a chunk.

        Raises:
            ValueError: The chunk is not [C, 7].
        """
        chunk = np.asarray(action)
        if chunk.shape != self.action_space.shape:
            raise ValueError(f"the chunk has shape {chunk.shape}, expected {self.action_space.shape}")
        env, before = self.environment, self.environment.simulation.world.tick
        env.set_reference()
        reward = 0.0
        for each in chunk:
            reward += env.advance(each)
            if env.is_over or (env.command is not None and env.command.is_rejected):
                break
        ticks = env.simulation.world.tick - before
        return env.observe(), reward, env.is_terminated, env.is_truncated, env.info() | {"ticks": ticks}

    def render(self) -> npt.NDArray[np.uint8]:
        """The front camera."""
        return self.environment.render()

    def close(self) -> None:
        """Free the OpenGL context."""
        self.environment.close()


def observation_space(image_size_px: int) -> spaces.Dict:
    """Observation space of a Cartesian policy with images of that size."""
    image = spaces.Box(0, 255, (image_size_px, image_size_px, 3), np.uint8)
    return spaces.Dict(
        {
            "images": spaces.Dict(dict.fromkeys(CAMERAS, image)),
            "proprio": spaces.Box(-np.inf, np.inf, (len(CARTESIAN_PROPRIO),), np.float32),
            "instruction": spaces.Text(MAX_INSTRUCTION, charset=INSTRUCTION_CHARACTERS),
        }
    )
