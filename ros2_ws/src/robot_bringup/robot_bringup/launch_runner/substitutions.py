# SPDX-License-Identifier: Apache-2.0
"""`$(var x)`, `$(env X default)`, `$(find-pkg-share p)`, `$(dirname)` and `$(eval '...')` in attribute values."""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from robot_bringup.launch_runner.document import Element

COMPARE = {ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.Gt: operator.gt}


@dataclass
class Context:
    """What substitutions can see: launch variables and the environment."""

    variables: dict[str, str]
    environment: dict[str, str]

    def get(self, element: Element, name: str, default: str | None = None) -> str:
        """Return an attribute with its substitutions done; it must be there unless it has a default."""
        if name not in element.attributes and default is None:
            raise element.error(f"lacks the attribute {name!r}")
        return self.text(element, element.attributes.get(name, default or ""))

    def truth(self, element: Element, name: str, default: str) -> bool:
        """Return the meaning of an attribute that is true, 1, false or 0."""
        word = self.get(element, name, default).strip().lower()
        if word not in {"true", "1", "false", "0"}:
            raise element.error(f"has {name}={word!r}: neither true nor false")
        return word in {"true", "1"}

    def text(self, element: Element, value: str) -> str:
        """Return `value`, written in `element`, with every substitution done."""
        before, opened, rest = value.partition("$(")
        if not opened:
            return value
        depth = 1
        for index, letter in enumerate(rest):
            depth += (letter == "(") - (letter == ")")
            if depth == 0:
                return before + self._one(element, rest[:index]) + self.text(element, rest[index + 1 :])
        raise element.error("has a substitution that is never closed")

    def _one(self, element: Element, inner: str) -> str:
        name, _, rest = inner.strip().partition(" ")
        rest = self.text(element, rest.strip())
        first, _, default = rest.partition(" ")
        if name == "eval":
            return str(evaluate(element, rest))
        if name == "dirname":
            return str(element.path.resolve().parent)
        if name == "find-pkg-share":
            try:
                return get_package_share_directory(first)
            except (PackageNotFoundError, ValueError) as error:
                raise element.error(f"names the package {first!r}, which is not installed") from error
        if name not in {"var", "env"}:
            raise element.error(f"uses $({name} ...), which this runner does not know")
        values = self.variables if name == "var" else self.environment
        if first not in values and not default:
            raise element.error(f"uses $({name} {first}), which is not set")
        return values.get(first, default.strip("\"'"))


def evaluate(element: Element, quoted: str) -> bool:
    """Evaluate a quoted boolean expression: literals, comparisons, and/or/not. Nothing can be called or looked up."""
    if len(quoted) < 2 or quoted[0] not in "\"'" or quoted[-1] != quoted[0]:
        raise element.error(f"has an $(eval {quoted}) whose expression is not quoted")
    try:
        return bool(_value(ast.parse(quoted[1:-1].strip(), mode="eval").body))
    except (SyntaxError, TypeError, ValueError, KeyError) as error:
        raise element.error(f"cannot evaluate {quoted}: only literals, comparisons, and/or/not") from error


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _value(node.operand)
    if isinstance(node, ast.BoolOp):
        values = [_value(item) for item in node.values]
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return COMPARE[type(node.ops[0])](_value(node.left), _value(node.comparators[0]))
    raise ValueError(type(node).__name__)
