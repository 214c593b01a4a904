# SPDX-License-Identifier: Apache-2.0
"""Recording of topics to MCAP files, one per episode."""
