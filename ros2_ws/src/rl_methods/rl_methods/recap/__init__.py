# SPDX-License-Identifier: Apache-2.0
"""Advantage-conditioned imitation of everything that the robot did (RECAP, arXiv 2511.14759)."""
