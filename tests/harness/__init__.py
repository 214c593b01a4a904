# SPDX-License-Identifier: Apache-2.0
"""What the reliability tests stand on: processes, deadlines, faults by schedule, and judges."""
