# SPDX-License-Identifier: Apache-2.0
"""ROS: convert, call core, publish."""
