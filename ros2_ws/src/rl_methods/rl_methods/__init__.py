# SPDX-License-Identifier: Apache-2.0
"""Methods that improve a VLA policy: for each an actor half, a learner half and its settings. No ROS."""
