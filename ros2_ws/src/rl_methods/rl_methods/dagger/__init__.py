# SPDX-License-Identifier: Apache-2.0
"""HG-DAgger: the operator's corrections go into the VLA, round by round."""
