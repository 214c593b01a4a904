# SPDX-License-Identifier: Apache-2.0
"""EXPO: edit the VLA's candidates and take the best by a critic (Dong et al., arXiv 2507.07986 and 2605.25477)."""
