# SPDX-License-Identifier: Apache-2.0
"""The `whetstone` command."""

import os

from robot_bringup.cli.middleware import set_aside_unknown

# Before any module of this package imports rclpy.
set_aside_unknown(os.environ)
