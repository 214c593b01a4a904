# SPDX-License-Identifier: Apache-2.0
"""Methods that steer the VLA: the actor halves, by name."""

from vla_policy.core.steering.decide import ProposalError, decide, steer
from vla_policy.core.steering.protocol import (
    Choice,
    Kind,
    Learned,
    Method,
    NoiseSteerer,
    Ready,
    Situation,
    Trial,
    Tuning,
)
from vla_policy.core.steering.registry import METHODS, make_method

__all__ = [
    "METHODS",
    "Choice",
    "Kind",
    "Learned",
    "Method",
    "NoiseSteerer",
    "ProposalError",
    "Ready",
    "Situation",
    "Trial",
    "Tuning",
    "decide",
    "make_method",
    "steer",
]
