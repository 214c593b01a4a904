# SPDX-License-Identifier: Apache-2.0
"""Removed protections: each proves that the row which guards it can fail.

A mutation replaces one method of the product before the node starts. It lives in the tests alone, and it fails loudly
when the method has been renamed, so that no row becomes decoration unnoticed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


class NothingToRemoveError(AttributeError):
    """The protection that the mutation removes does not exist under that name."""


def replace(path: str, new: Callable[..., Any]) -> Callable[..., Any]:
    """Replace `package.module:Class.method` (or `:function`) and return the original.

    Raises:
        NothingToRemoveError: There is no such thing.
    """
    module_name, _, dotted = path.partition(":")
    owner: Any = importlib.import_module(module_name)
    *parents, name = dotted.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    if not hasattr(owner, name):
        raise NothingToRemoveError(path)
    raw = vars(owner).get(name, getattr(owner, name))
    if isinstance(raw, property):
        setattr(owner, name, property(new))
        return raw.fget
    setattr(owner, name, staticmethod(new) if isinstance(raw, staticmethod) else new)
    return getattr(raw, "__func__", raw)
