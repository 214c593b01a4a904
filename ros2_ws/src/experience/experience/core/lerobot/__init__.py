# SPDX-License-Identifier: Apache-2.0
"""Parts of a LeRobotDataset of format v3.0, each checked where it is read."""
