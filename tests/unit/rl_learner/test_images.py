# SPDX-License-Identifier: Apache-2.0
"""Images on their way into a batch: decoded once, kept as bytes, and refused where they lack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fakes.rl_episodes import GAMMA
from fakes.rl_images import picture, seen
from fakes.rl_runs import SHAPE, episode
from rl_learner.core.intake import MissingImagesError, window_of
from rl_learner.core.replay import Replay
from rl_methods.base import IMAGES, PROPRIO, DataSpec
from rl_methods.common.batch import join
from whetstone_common.core.pixels import squared

SEEING = replace(SHAPE, cameras=2, image_size=16)
SPEC = DataSpec(IMAGES)


def test_when_a_transition_has_images_expect_them_small_in_its_window() -> None:
    made = seen()
    window = window_of(made[0], SEEING, GAMMA)
    assert np.array_equal(window.images, squared(picture(made[0].episode_step), 16))
    assert np.array_equal(window.next_images, squared(picture(made[1].episode_step), 16))


def test_when_the_episode_ended_in_the_window_expect_its_first_images_in_place_of_the_next() -> None:
    window = window_of(seen()[-1], SEEING, GAMMA)
    assert window.mask == 0.0 and np.array_equal(window.next_images, window.images)


def test_when_no_encoder_asks_expect_images_left_where_they_are() -> None:
    window = window_of(seen()[0], SHAPE, GAMMA)
    assert window.images.shape == window.next_images.shape == (0,)


def test_when_images_lack_expect_a_refusal_of_its_own_kind() -> None:
    with pytest.raises(MissingImagesError, match="transitions hold no images"):
        window_of(episode(1)[0], SEEING, GAMMA)
    with pytest.raises(MissingImagesError):
        window_of(replace(seen()[0], next_images=np.zeros(0, np.uint8)), SEEING, GAMMA)


def test_when_windows_are_kept_expect_bytes_in_the_batch_and_in_a_checkpoint() -> None:
    replay, windows = Replay(SEEING, 8, SPEC), [window_of(t, SEEING, GAMMA) for t in seen()]
    for window in windows:
        replay.add(window)
    batch = join([replay.rows(torch.tensor([1, 0])), replay.rows(torch.tensor([0]))])
    assert batch.images.dtype == torch.uint8 and batch.images.shape == (3, 2, 16, 16, 3)
    assert np.array_equal(batch.images[0].numpy(), windows[1].images) and batch.candidates.shape[1:] == (0,)
    back = Replay(SEEING, 8, SPEC)
    back.restore(replay.state())
    assert torch.equal(back.rows(torch.tensor([1])).next_images, batch.next_images[:1])


def test_when_a_window_of_another_size_comes_expect_refusal() -> None:
    window = window_of(seen()[0], replace(SEEING, image_size=32), GAMMA)
    with pytest.raises(ValueError, match="images has shape"):
        Replay(SEEING, 8, SPEC).add(window)


def test_when_a_replay_was_saved_before_there_were_images_expect_it_restored() -> None:
    replay = Replay(SHAPE, 8)
    replay.add(window_of(episode(1)[0], SHAPE, GAMMA))
    older = {name: rows for name, rows in replay.state().items() if name not in IMAGES | PROPRIO}
    back = Replay(SHAPE, 8)
    back.restore(older)
    assert len(back) == 1 and torch.equal(back.rows(torch.tensor([0])).actions, replay.rows(torch.tensor([0])).actions)


def test_when_proprioception_is_asked_for_expect_both_ends_of_the_window() -> None:
    shape = replace(SHAPE, proprio=len(episode(1)[0].proprio))
    made = replace(episode(1)[0], next_proprio=episode(1)[0].proprio + 1.0)
    replay = Replay(shape, 4, DataSpec(PROPRIO))
    replay.add(window_of(made, shape, GAMMA))
    batch = replay.rows(torch.tensor([0]))
    assert torch.equal(batch.next_proprio - batch.proprio, torch.ones_like(batch.proprio))
    assert torch.equal(replay.column("proprio"), batch.proprio)
