# SPDX-License-Identifier: Apache-2.0
"""Plain typed Python: no ROS, no clock."""
