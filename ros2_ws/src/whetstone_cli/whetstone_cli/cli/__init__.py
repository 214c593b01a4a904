# SPDX-License-Identifier: Apache-2.0
"""The `whetstone` command."""

import os

from whetstone_cli.cli.middleware import set_aside_unknown

# Before any module of this package imports rclpy.
set_aside_unknown(os.environ)
