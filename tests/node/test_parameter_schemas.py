# SPDX-License-Identifier: Apache-2.0
"""Row 47: every parameter of every package, outside its range, not finite, of another type, or unknown."""

from __future__ import annotations

import importlib
import inspect
import math
from pathlib import Path
from typing import Any

import pytest
from rclpy.exceptions import ParameterNotDeclaredException
from rclpy.parameter import Parameter

from harness.rig import Rig
from whetstone_common.core.parameters import ParameterError, ParameterSchema, ParameterSpec
from whetstone_common.nodes.node import WhetstoneNode

SOURCES = Path(__file__).resolve().parents[2] / "ros2_ws" / "src"
COMMON = SOURCES / "whetstone_common" / "config" / "common_params.yaml"
FILES = {
    path.name.removesuffix("_params.yaml"): path for path in sorted(SOURCES.glob("*/config/*_params.yaml"))
}  # fmt: skip
FILES.pop("common")
SCHEMAS = {name: ParameterSchema.load(path, include=COMMON) for name, path in FILES.items()}
OTHER_TYPES: dict[str, Any] = {"bool": "yes", "int": 1.5, "double": "much", "string": 3}


def wrong_values(spec: ParameterSpec) -> dict[str, Any]:
    """Values that a parameter must refuse, by the kind of mistake."""
    kind = spec.type.removesuffix("_array")
    wrong: dict[str, Any] = {"other type": OTHER_TYPES[kind]}
    if spec.bounds is not None:
        low, high = spec.bounds
        eps = 1 if kind == "int" else 1e-6 * max(1.0, abs(low), abs(high))
        wrong |= {"below": low - eps, "above": high + eps}
    if kind == "double":
        wrong |= {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
    if spec.one_of is not None:
        wrong["no choice"] = "no such choice"
    if not spec.is_array:
        return wrong | {"a list": [spec.default]}
    size = spec.length or max(1, len(spec.default))
    good = [spec.default[i % len(spec.default)] if spec.default else "x" for i in range(size)]
    return {mistake: [value, *good[1:]] for mistake, value in wrong.items()} | {"no list": value_of(good)}


def value_of(values: list[Any]) -> Any:
    """One element, as if the brackets had been forgotten."""
    return values[0]


CASES = [
    pytest.param(node, name, value, id=f"{node}-{name}-{mistake}")
    for node, schema in SCHEMAS.items()
    for name, spec in schema.specs.items()
    for mistake, value in wrong_values(spec).items()
]


@pytest.mark.row(47)
@pytest.mark.parametrize(("node", "name", "value"), CASES)
def test_when_a_value_is_wrong_expect_refusal_that_names_it(node: str, name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=name):
        SCHEMAS[node].check({name: value})


@pytest.mark.row(47)
@pytest.mark.parametrize("node", SCHEMAS)
def test_when_a_name_is_unknown_expect_refusal_that_names_it(node: str) -> None:
    with pytest.raises(ParameterError, match="no_such_parameter"):
        SCHEMAS[node].check({"no_such_parameter": 1})


@pytest.mark.parametrize("node", SCHEMAS)
def test_when_a_bounded_value_is_at_its_bounds_expect_it_taken(node: str) -> None:
    for name, spec in SCHEMAS[node].specs.items():
        if spec.bounds is not None and not spec.is_array:
            kind = int if spec.type == "int" else float
            SCHEMAS[node].check({name: kind(spec.bounds[0])})
            SCHEMAS[node].check({name: kind(spec.bounds[1])})


def node_class(node: str) -> type[WhetstoneNode]:
    """The class behind a schema, found by its name."""
    package = FILES[node].parents[1].name
    module = importlib.import_module(f"{package}.nodes.{node}")
    classes = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, WhetstoneNode) and member.__module__.startswith(f"{package}.nodes")
    ]
    return max(classes, key=lambda member: len(member.__mro__))


@pytest.mark.row(47)
@pytest.mark.parametrize("node", SCHEMAS)
def test_when_a_live_node_is_given_wrong_values_expect_every_one_refused_and_none_taken(rig: Rig, node: str) -> None:
    made: Any = rig.add(node_class(node), begin=False)
    before = {name: made.param(name) for name in SCHEMAS[node].specs}
    for case in CASES:
        of, name, value = case.values
        if of != node:
            continue
        if isinstance(value, list) and len(set(map(type, value))) > 1:
            value = value[:1] * len(value)  # ROS has no lists of mixed types
        result = made.set_parameters([Parameter(name, value=value)])[0]
        assert not result.successful, f"{name} = {value!r} was taken"
        with pytest.raises(ParameterError) as refusal:
            SCHEMAS[node].check({name: value})
        assert result.reason == str(refusal.value), "the schema's sentence is the one that is read"
    with pytest.raises(ParameterNotDeclaredException):
        made.set_parameters([Parameter("no_such_parameter", value=1)])
    assert {name: made.param(name) for name in before} == before
    assert {name: made.get_parameter(name).value for name in before if before[name] != []} == {
        name: value for name, value in before.items() if value != []
    }


@pytest.mark.parametrize("node", SCHEMAS)
def test_when_a_live_node_is_asked_expect_its_descriptors_to_state_what_the_schema_demands(rig: Rig, node: str) -> None:
    made: Any = rig.add(node_class(node), begin=False)
    for name, spec in SCHEMAS[node].specs.items():
        told = made.describe_parameter(name)
        ranges = [(r.from_value, r.to_value, r.step) for r in (*told.integer_range, *told.floating_point_range)]
        is_ranged = spec.bounds is not None and not spec.is_array
        assert ranges == ([(*spec.bounds, 0)] if is_ranged else []), name
        assert bool(told.integer_range) == (is_ranged and spec.type == "int"), name
        assert told.read_only == spec.read_only and told.description == spec.description, name
        assert ("locked while armed" in told.additional_constraints) == spec.locked_while_armed, name
        assert all(repr(choice) in told.additional_constraints for choice in spec.one_of or ()), name
        assert spec.length is None or f"exactly {spec.length} elements" in told.additional_constraints, name
        if spec.is_array and spec.bounds is not None:
            assert f"each element in [{spec.bounds[0]}, {spec.bounds[1]}]" in told.additional_constraints, name


@pytest.mark.row(47)
@pytest.mark.parametrize("node", SCHEMAS)
def test_when_one_of_a_set_is_wrong_expect_none_of_the_set_taken(rig: Rig, node: str) -> None:
    made: Any = rig.add(node_class(node), begin=False)
    specs = SCHEMAS[node].specs.values()
    bounded = [spec for spec in specs if spec.bounds and not (spec.read_only or spec.is_array)]
    if len(bounded) < 2:
        pytest.skip("fewer than two parameters of this node may be turned")
    good, bad = bounded[0], bounded[1]
    kind = int if good.type == "int" else float
    parameters = [
        Parameter(good.name, value=kind(good.bounds[1])),
        Parameter(bad.name, value=wrong_values(bad)["above"]),
    ]
    result = made.set_parameters_atomically(parameters)
    assert not result.successful and bad.name in result.reason
    assert made.param(good.name) == good.default


@pytest.mark.row(47)
@pytest.mark.parametrize("node", SCHEMAS)
@pytest.mark.parametrize("override", [{"no_such_parameter": 1}, {"autostart": "perhaps"}])
def test_when_a_start_value_is_wrong_expect_refusal_to_start(rig: Rig, node: str, override: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=next(iter(override))):
        rig.add(node_class(node), begin=False, **override)
