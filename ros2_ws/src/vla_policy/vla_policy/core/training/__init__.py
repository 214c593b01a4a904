# SPDX-License-Identifier: Apache-2.0
"""Imitation training of the pocket VLA."""
