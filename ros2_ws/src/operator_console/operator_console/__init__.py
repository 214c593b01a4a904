# SPDX-License-Identifier: Apache-2.0
"""Operator console: one page in the browser to watch, operate and take over a robot."""
