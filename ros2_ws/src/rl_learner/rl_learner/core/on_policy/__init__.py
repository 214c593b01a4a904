# SPDX-License-Identifier: Apache-2.0
"""Learning from what the policy of now has just played, in simulators that run beside each other."""
