# SPDX-License-Identifier: Apache-2.0
"""What a person did wrong, or can put right: shown without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """One line on what is wrong and, after a blank line, what to do about it."""
