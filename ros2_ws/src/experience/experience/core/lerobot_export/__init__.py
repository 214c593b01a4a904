# SPDX-License-Identifier: Apache-2.0
"""Recorded episodes as a LeRobotDataset of format v3.0: Parquet for numbers, MP4 for images, metadata beside them."""
