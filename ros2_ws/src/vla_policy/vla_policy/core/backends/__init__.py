# SPDX-License-Identifier: Apache-2.0
"""VLA backends by name: `fake`, `pocket`, `pi0`, `onnx`."""

from vla_policy.core.backends.registry import BACKENDS, load_backend

__all__ = ["BACKENDS", "load_backend"]
