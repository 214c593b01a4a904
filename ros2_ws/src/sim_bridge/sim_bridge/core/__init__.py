# SPDX-License-Identifier: Apache-2.0
"""Scene, tasks, simulation and scripted expert, without ROS."""
