# SPDX-License-Identifier: Apache-2.0
"""Plain Python: scene, tasks, world and scripted expert. No ROS in here."""
