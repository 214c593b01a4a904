# SPDX-License-Identifier: Apache-2.0
"""RLT: a chunk actor beside the VLA's own chunk, on the RL token (arXiv 2604.23073)."""
