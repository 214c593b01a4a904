# SPDX-License-Identifier: Apache-2.0
"""What several methods share: networks, critics, batches, gradient steps, weights on their way to the robot."""
