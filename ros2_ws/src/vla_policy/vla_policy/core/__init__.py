# SPDX-License-Identifier: Apache-2.0
"""Policy code without ROS: no rclpy, no messages, no wall clock."""
