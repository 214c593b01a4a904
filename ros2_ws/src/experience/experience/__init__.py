# SPDX-License-Identifier: Apache-2.0
"""Data of the robot: transitions, the spool, recordings and datasets; without torch."""
