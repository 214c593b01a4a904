# SPDX-License-Identifier: Apache-2.0
"""Stage and progress of a pair."""

from __future__ import annotations

import numpy as np

from sim_bridge.core.tasks import PairState
from sim_bridge.core.truth import Stage, progress_of, stage_of


def pair(x_m: float, z_m: float = 0.0) -> PairState:
    """A pair with this error."""
    return PairState(error=np.array([x_m, 0.0, z_m]), tilt_rad=0.0, speed_m_s=0.0, touched=True)


def test_when_the_object_goes_its_way_expect_the_stages_in_order() -> None:
    assert stage_of(pair(0.3), 0.0, grasped=False, done=False) is Stage.REACH
    assert stage_of(pair(0.3), 0.0, grasped=True, done=False) is Stage.GRASPED
    assert stage_of(pair(0.3), 0.1, grasped=True, done=False) is Stage.CARRIED
    assert stage_of(pair(0.01, 0.1), 0.1, grasped=True, done=False) is Stage.OVER_GOAL
    assert stage_of(pair(0.01), 0.0, grasped=False, done=True) is Stage.DONE


def test_when_the_object_goes_its_way_expect_progress_to_grow_to_one() -> None:
    way = [
        progress_of(Stage.REACH, pair(0.3), 0.3),
        progress_of(Stage.REACH, pair(0.3), 0.02),
        progress_of(Stage.GRASPED, pair(0.3), 0.0),
        progress_of(Stage.CARRIED, pair(0.1, 0.1), 0.0),
        progress_of(Stage.OVER_GOAL, pair(0.0, 0.02), 0.0),
        progress_of(Stage.DONE, pair(0.0), 0.5),
    ]
    assert way == sorted(way) and way[0] > 0.0 and way[-1] == 1.0
