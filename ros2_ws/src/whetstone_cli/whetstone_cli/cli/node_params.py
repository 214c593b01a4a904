# SPDX-License-Identifier: Apache-2.0
"""`whetstone param list | get | set | describe`: parameters of the nodes that run."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rcl_interfaces.msg import Parameter as ParameterMsg
from rcl_interfaces.msg import ParameterDescriptor, ParameterType
from rclpy.parameter import Parameter, get_parameter_value, parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from rich.table import Table

from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.graph import Graph
from whetstone_cli.cli.operate import PANEL
from whetstone_cli.cli.options import Namespace
from whetstone_cli.cli.screen import console

app = typer.Typer(help="Parameters of the nodes that run.", no_args_is_help=True)

NodeName = Annotated[str, typer.Argument(help="Name of the node, for example arm_node.")]
ParamName = Annotated[str, typer.Argument(help="Name of the parameter.")]
_TYPES = {
    getattr(ParameterType, name): name.removeprefix("PARAMETER_").lower()
    for name in dir(ParameterType)
    if name.startswith("PARAMETER_")
}


def register(parent: typer.Typer) -> None:
    """Add the commands of this module."""
    parent.add_typer(app, name="param", rich_help_panel=PANEL)


class _Params:
    """Parameters of one node."""

    def __init__(self, graph: Graph, node: str) -> None:
        self._graph, self._node = graph, node
        self._client = AsyncParameterClient(graph.node, node)
        if not graph.spin_until(self._client.services_are_ready):
            raise graph.missing(node)

    def result(self, future: Any) -> Any:
        if not self._graph.spin_until(future.done):
            raise UserError(f"{self._node} did not answer")
        return future.result()

    def names(self) -> list[str]:
        return sorted(self.result(self._client.list_parameters()).result.names)

    def values(self, names: list[str]) -> list[Any]:
        """Values of parameters.

        Raises:
            UserError: The node has none of that name.
        """
        found = self.result(self._client.get_parameters(names)).values
        known = [value.type != ParameterType.PARAMETER_NOT_SET for value in found]
        if len(found) != len(names) or not all(known):
            raise UserError(f"{self._node} has no parameter {names[0]!r}\n\nIt has: {', '.join(self.names())}")
        return list(found)

    def describe(self, name: str) -> ParameterDescriptor:
        self.values([name])
        descriptor: ParameterDescriptor = self.result(self._client.describe_parameters([name])).descriptors[0]
        return descriptor

    def set(self, name: str, text: str) -> None:
        """Set a parameter to what the text means for its type.

        Raises:
            UserError: The node refuses, with its reason.
        """
        value = get_parameter_value(text)
        declared = self.values([name])[0].type
        if declared == ParameterType.PARAMETER_DOUBLE and value.type == ParameterType.PARAMETER_INTEGER:
            value = Parameter(name, value=float(value.integer_value)).get_parameter_value()
        if declared == ParameterType.PARAMETER_STRING:
            value = Parameter(name, value=text).get_parameter_value()
        done = self.result(self._client.set_parameters([ParameterMsg(name=name, value=value)])).results[0]
        if not done.successful:
            raise UserError(f"{self._node} refused: {done.reason}")


@app.command("list")
def list_(node: NodeName, namespace: Namespace = "") -> None:
    """Every parameter of a node, with its value."""
    with Graph(namespace) as graph:
        params = _Params(graph, node)
        names = params.names()
        values = params.values(names)
    table = Table("parameter", "value")
    for name, value in zip(names, values, strict=True):
        table.add_row(name, str(parameter_value_to_python(value)))
    console.print(table, markup=False)


@app.command()
def get(node: NodeName, name: ParamName, namespace: Namespace = "") -> None:
    """Value of a parameter."""
    with Graph(namespace) as graph:
        value = _Params(graph, node).values([name])[0]
    console.print(str(parameter_value_to_python(value)), markup=False)


@app.command("set")
def set_(
    node: NodeName,
    name: ParamName,
    value: Annotated[str, typer.Argument(help="New value, as in YAML.")],
    namespace: Namespace = "",
) -> None:
    """Change a parameter; the node may refuse, and says why."""
    with Graph(namespace) as graph:
        params = _Params(graph, node)
        params.set(name, value)
        now = params.values([name])[0]
    console.print(f"{node} {name} = {parameter_value_to_python(now)}", markup=False)


@app.command()
def describe(node: NodeName, name: ParamName, namespace: Namespace = "") -> None:
    """Type, range and meaning of a parameter."""
    with Graph(namespace) as graph:
        found = _Params(graph, node).describe(name)
    lines = [f"{name} ({_TYPES[found.type]})" + (", read only" if found.read_only else ""), found.description]
    lines += [f"range: {r.from_value} to {r.to_value}" for r in (*found.integer_range, *found.floating_point_range)]
    lines += [found.additional_constraints] if found.additional_constraints else []
    console.print("\n".join(lines), markup=False, highlight=False)
