# SPDX-License-Identifier: Apache-2.0
"""The whetstone command: its screens, plots and batch jobs."""
