# SPDX-License-Identifier: Apache-2.0
"""Distillation: the successes of a run go back into the VLA."""
