# SPDX-License-Identifier: Apache-2.0
"""How the robot gets better: replay, online and offline learners."""
