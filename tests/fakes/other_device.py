# SPDX-License-Identifier: Apache-2.0
"""A second device on a machine that has only a CPU: its tensors compute there, and refuse to meet those of the CPU.

As on a GPU, an operation on tensors of both devices raises, unless that of the CPU is a scalar, an index, or is copied.
To be imported before the process computes its first gradient: only then does torch look for devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_TYPE = "second"
_setup_privateuseone_for_python_backend(_TYPE)
DEVICE = torch.device(_TYPE, 0)
_COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
_INDEXING = {"aten::index", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}


class Elsewhere(Tensor):
    """A tensor that says that it is on the second device."""

    held: Tensor

    @staticmethod
    def __new__(cls: type[Elsewhere], held: Tensor) -> Elsewhere:
        """Wrap a tensor of the CPU."""
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE, requires_grad=False,
        )  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute on the CPU what is of the second device alone."""
        return compute(func, args, kwargs or {})


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation on the tensors within, wrapped again if it belongs to the second device."""
    leaves = tree_flatten((args, kwargs))[0]
    is_here = any(isinstance(leaf, Elsewhere) for leaf in leaves)
    target = kwargs.get("device")
    if target is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    goes = (torch.device(target).type == _TYPE) if target is not None else is_here
    if is_here and func not in _COPIES and func._schema.name not in _INDEXING:
        strangers = [
            leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, Elsewhere) and leaf.dim()
        ]
        if strangers:
            raise RuntimeError(f"{func}: tensors on two devices, of the CPU {tuple(strangers[0].shape)}")
    if func is torch.ops.aten.copy_.default:
        goes = isinstance(args[0], Elsewhere)
    inner_args, inner_kwargs = tree_map(lambda x: x.held if isinstance(x, Elsewhere) else x, (args, kwargs))
    out = func(*inner_args, **inner_kwargs)
    if func._schema.is_mutable:  # in place: what came is what has changed
        return args[0] if func._schema.returns else None
    return tree_map(lambda x: Elsewhere(x) if isinstance(x, Tensor) and goes else x, out)


class _Factories(TorchDispatchMode):
    """Makes tensors of the second device where they are asked for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


@contextmanager
def second_device() -> Iterator[torch.device]:
    """The second device, while the context lasts."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with _Factories():
            yield DEVICE
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
