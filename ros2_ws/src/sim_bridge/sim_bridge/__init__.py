# SPDX-License-Identifier: Apache-2.0
"""MuJoCo simulation with the ROS interface of a real arm."""
