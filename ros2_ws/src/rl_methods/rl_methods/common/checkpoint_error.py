# SPDX-License-Identifier: Apache-2.0
"""The error of files of weights; here, so that who serves without torch can raise it."""


class CheckpointError(ValueError):
    """Files that are not what they should be; the message names the first thing that is wrong."""
