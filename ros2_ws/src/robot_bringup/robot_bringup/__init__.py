# SPDX-License-Identifier: Apache-2.0
"""What touches the arm and brings a robot up: arm, robot files, launch, tasks, timing."""
