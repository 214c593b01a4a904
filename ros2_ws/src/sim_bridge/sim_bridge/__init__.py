# SPDX-License-Identifier: Apache-2.0
"""MuJoCo behind the topics of a real arm."""
