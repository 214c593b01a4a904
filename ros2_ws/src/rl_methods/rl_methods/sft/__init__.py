# SPDX-License-Identifier: Apache-2.0
"""Supervised fine-tuning: flow-matching imitation of demonstrations."""
