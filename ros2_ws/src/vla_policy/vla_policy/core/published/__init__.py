# SPDX-License-Identifier: Apache-2.0
"""PI0 checkpoints as LeRobot, transformers and openpi write them."""
