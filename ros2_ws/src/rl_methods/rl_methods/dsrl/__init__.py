# SPDX-License-Identifier: Apache-2.0
"""DSRL: steer the noise that the VLA denoises (Wagenmaker et al., arXiv 2506.15799)."""
