# SPDX-License-Identifier: Apache-2.0
import errno
from dataclasses import replace

import numpy as np
import pytest

from fakes.rl_board import curve
from fakes.rl_runs import SPOOL, episode, recipe, session
from rl_learner.core.tensorboard import EVERY, TensorBoardLogger
from rl_methods.base import ChunkSource
from whetstone_common.core.enums import Actor

WARM_UP = 2 * EVERY + 10


class Desk:
    """A session whose learner only counts, and its board."""

    def __init__(self, folder, run=None, **board):
        self.folder, self.warnings = folder / "tensorboard", []
        self.run = run or session(recipe(folder, warm_up_updates=WARM_UP))
        self.run.learner.update = self.run.learner.offline_update = self.update
        self.board = TensorBoardLogger(self.folder, self.run, self.warnings.append, **board)

    def update(self, *_rest):
        self.run.learner.updates += 1
        return {"critic/loss": 0.5 * self.run.learner.updates}

    def play(self, *numbers, windows=3, change=lambda made: made):
        for made in [change(t) for n in numbers for t in episode(n)[:windows]]:
            self.run.add(made, SPOOL, self.run.receipts.through + 1)
            self.board.on_transition(self.run)

    def learn(self):
        while self.run.due:
            self.run.learn()
            self.board.on_update(self.run)

    def updates(self, name):
        return curve(self.folder / "updates", name)

    def episodes(self, name):
        return curve(self.folder / "episodes", name)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_when_it_learns_expect_metrics_and_the_buffer_at_every_so_many_updates(desk):
    desk.play(1, 2)
    desk.learn()
    desk.board.close()
    assert desk.updates("critic/loss") == {EVERY: EVERY / 2, 2 * EVERY: EVERY}
    assert desk.updates("run/buffer") == {EVERY: 6, 2 * EVERY: 6}
    assert desk.updates("run/robot_steps")[EVERY] == 24


def test_when_episodes_come_expect_each_once_with_its_success_steps_help_and_edits(desk):
    def helped(made):
        actors = made.actors if made.episode_step else np.full_like(made.actors, Actor.HUMAN)
        return replace(made, actors=actors, kind=ChunkSource.BASE if made.episode_step == 8 else ChunkSource.EDITED)

    desk.play(1)
    desk.play(2, change=helped)
    desk.board.close()
    assert desk.episodes("episode/success") == {1: 1.0, 2: 0.0}
    assert desk.episodes("episode/steps") == {1: 12, 2: 12}
    assert desk.episodes("episode/human_share") == pytest.approx({1: 0.0, 2: 1 / 3})
    assert desk.episodes("episode/edit_share") == pytest.approx({1: 0.0, 2: 2 / 3})
    assert desk.episodes("run/buffer") == {1: 3, 2: 6}
    assert desk.episodes("run/updates") == {1: 0, 2: 0}


def test_when_windows_of_an_episode_are_lost_expect_it_when_the_next_one_begins(desk):
    desk.play(1, windows=2)
    assert not desk.folder.exists()
    desk.play(2)
    desk.board.close()
    assert desk.episodes("episode/success") == {1: 1.0, 2: 0.0}


def test_when_a_run_goes_on_from_an_older_checkpoint_expect_every_step_once_and_the_newer_value(desk, tmp_path):
    desk.play(1, 2)
    desk.play(3, windows=1)
    for _ in range(EVERY + 5):
        desk.run.learn()
        desk.board.on_update(desk.run)
    saved = desk.run.snapshot()
    desk.learn()
    desk.play(4)
    desk.board.close()
    assert list(desk.updates("critic/loss")) == [EVERY, 2 * EVERY]
    assert list(desk.episodes("episode/success")) == [1, 2, 3, 4]

    again = session(recipe(tmp_path, warm_up_updates=WARM_UP))
    again.restore(saved)
    later = Desk(tmp_path, run=again)
    later.run.learner.update = lambda *_rest: later.update() | {"critic/loss": -1.0}
    later.run.learner.offline_update = later.run.learner.update
    later.play(5)
    later.learn()
    later.board.close()
    assert later.updates("critic/loss") == {EVERY: EVERY / 2, 2 * EVERY: -1.0}
    assert later.episodes("episode/success") == {1: 1.0, 2: 0.0, 3: 1.0, 4: 1.0}


def test_when_updates_are_refused_expect_no_step_twice(desk):
    desk.play(1, 2)
    for _ in range(EVERY):
        desk.run.learn()
    for _ in range(3):
        desk.board.on_update(desk.run)
    desk.board.close()
    assert list(desk.updates("critic/loss")) == [EVERY]


def test_when_the_folder_cannot_be_made_expect_one_warning_and_learning_to_go_on(desk):
    desk.folder.write_text("a file where a folder should be", encoding="utf-8")
    desk.play(1, 2)
    desk.learn()
    desk.board.close()
    assert desk.run.learner.updates == WARM_UP
    assert len(desk.warnings) == 1 and "tensorboard" in desk.warnings[0]


class Full:
    """A writer whose disk fills up."""

    def __init__(self, room):
        self.room = room

    def add_scalar(self, _name, _value, _step):
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def close(self):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("room", [0, 5])
def test_when_the_disk_fills_up_expect_one_warning_and_learning_to_go_on(tmp_path, room):
    desk = Desk(tmp_path, open_writer=lambda _folder, _void_from: Full(room))
    desk.play(1, 2)
    desk.learn()
    desk.board.close()
    assert desk.run.learner.updates == WARM_UP
    assert len(desk.warnings) == 1 and "No space left" in desk.warnings[0]
