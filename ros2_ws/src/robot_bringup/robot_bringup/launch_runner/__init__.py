# SPDX-License-Identifier: Apache-2.0
"""Runs our launch files where `ros2 launch` does not exist (ROS from wheels): a stop-gap, not a second launch system.

It knows the subset of launch XML that launch/ uses and refuses everything else by name and line, so that a file
that runs here runs the same under `ros2 launch`.
"""
