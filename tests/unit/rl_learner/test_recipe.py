# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fakes.rl_runs import SHAPE, SMALL, recipe, write_method
from rl_learner.core.run_data import shape_in
from rl_methods.common.batch import WindowShape
from rl_methods.common.scoring import Reduce
from rl_methods.config import differences, read_method_config
from rl_methods.registry import online_methods, settings_file

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "ros2_ws" / "src" / "experience" / "config"
SHIPPED = {name: settings_file(name) for name in online_methods()}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_when_a_shipped_method_is_read_expect_a_learner_of_it_and_a_configuration_that_json_holds(name):
    read = read_method_config(SHIPPED[name])
    assert read.method == name
    shape = WindowShape(
        features=138, steps=read.steps, action_dim=7, candidates=8, horizon=16, noise_dim=7, proprio=10,
        cameras=2 if read.image_size else 0, image_size=read.image_size,
    )  # fmt: skip
    assert read.learner(shape).updates == 0
    resolved = read.resolved()
    assert json.loads(json.dumps(resolved)) == resolved
    assert {"critic", "schedule", read.method} == set(resolved)


def test_when_nobody_says_a_discount_expect_the_shipped_methods_to_mean_the_same():
    assert len({read_method_config(path).schedule.discount for path in SHIPPED.values()}) == 1


@pytest.mark.parametrize(
    ("blocks", "word"),
    [
        ({**SMALL, "expo": {"margen": 1}}, "margen"),
        ({**SMALL, "critics": {}}, "critics"),
        ({"critic": {}}, "expected one of"),
        ({**SMALL, "critic": {"learning_rate": "fast"}}, "critic.learning_rate"),
        ({**SMALL, "critic": {"members": 3, "subset": 4}}, "subset"),
        ({**SMALL, "expo": {"features": 3}}, "features"),
    ],
)
def test_when_a_file_is_wrong_expect_the_key_in_the_error(tmp_path, blocks, word):
    with pytest.raises(ValueError, match=word):
        recipe(tmp_path, {"schedule": {}, **blocks})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"critic: 5", "block critic is 5, expected keys with values"),
        (b"expo: [1]", r"block expo is \[1\]"),
        (b"- expo", "expected blocks of settings"),
        (b"expo: {margin: {}}", r"expo.margin is \{\}, expected a number"),
        (b"expo: [", "it is not YAML"),
        (b"\xff", "it is not UTF-8 text"),
    ],
)
def test_when_a_file_has_no_blocks_of_settings_expect_file_and_block(tmp_path, content, words):
    path = tmp_path / "method.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"method\.yaml: .*{words}"):
        read_method_config(path)


@pytest.mark.parametrize("change", [{"base_episodes": -1}, {"batch": 1}, {"updates_per_step": -1.0}, {"discount": 1.5}])
def test_when_a_schedule_cannot_work_expect_its_name_in_the_error(tmp_path, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        recipe(tmp_path, **change)


def test_when_a_number_is_written_as_a_word_expect_the_number(tmp_path):
    path = write_method(tmp_path)
    path.write_text(path.read_text().replace("members: 3", "members: 3\n  learning_rate: 1e-3"), encoding="utf-8")
    assert read_method_config(path, {"expo": {"select": "lower"}}).critic.learning_rate == 1e-3
    assert read_method_config(path, {"expo": {"select": "lower"}}).learner(SHAPE).config.select is Reduce.LOWER


def test_when_configurations_are_compared_expect_every_difference_by_its_name():
    one, other = {"a": 1, "b": {"c": [1], "d": 2}}, {"a": 1, "b": {"c": [2], "e": 2}}
    assert differences(one, other) == ["b.c: [1], now [2]", "b.d: 2, now None", "b.e: None, now 2"]


@pytest.mark.parametrize("name", sorted(SHIPPED))
@pytest.mark.parametrize(("space", "dims"), [("cartesian", 7), ("joint", 8)])
def test_when_a_shipped_method_learns_in_an_action_space_expect_bounds_of_it_and_the_state_features(name, space, dims):
    read = read_method_config(SHIPPED[name])
    shape = WindowShape(
        features=138, steps=read.steps, action_dim=dims, candidates=8, horizon=16, noise_dim=dims, proprio=10,
        state_features=21, action_space=space, cameras=2 if read.image_size else 0, image_size=read.image_size,
    )  # fmt: skip
    config = read.learner(shape).config
    assert getattr(config, "state_features", 21) == 21
    assert json.loads(json.dumps(read.for_shape(shape).resolved())) == read.for_shape(shape).resolved()


def test_when_a_bound_is_given_per_action_space_expect_the_one_of_the_windows(tmp_path):
    blocks = {
        **SMALL,
        "expo": {"edit_scale": {"cartesian": [0.1], "joint": [0.3, 2]}, "state_features": 3, "edit_knots": 2},
    }
    read, joint = recipe(tmp_path, blocks), replace(SHAPE, action_space="joint", state_features=5)
    assert read.learner(SHAPE).config.edit_scale == (0.1,)
    learnt = read.learner(joint).config
    assert learnt.edit_scale == (0.3, 2) and learnt.state_features == 3  # what the file says goes before the contract
    assert learnt.scale()[: joint.action_dim].tolist() == pytest.approx([0.3] * (joint.action_dim - 1) + [2.0])


@pytest.mark.parametrize("bound", [{"joint": [0.1]}, {"cartesian": [0.1], "joint": [0.1], "polar": [0.1]}, {}])
def test_when_a_bound_leaves_an_action_space_out_expect_those_that_are_expected(tmp_path, bound):
    with pytest.raises(ValueError, match=r"expo.edit_scale has keys \[.*\], expected cartesian, joint"):
        recipe(tmp_path, {**SMALL, "expo": {"edit_scale": bound}})


def test_when_a_checkpoint_of_an_earlier_release_is_read_expect_the_state_features_of_its_settings():
    shape = replace(SHAPE, state_features=2)
    notes = {"config": {"expo": {"state_features": 2}, "critic": {}, "seed": 0}, "shape": asdict(shape)}
    earlier = {name: value for name, value in asdict(shape).items() if name not in {"state_features", "action_space"}}
    assert shape_in(notes) == shape_in({**notes, "shape": earlier}) == shape
