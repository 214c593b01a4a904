# SPDX-License-Identifier: Apache-2.0
"""Batch jobs, without a node."""
