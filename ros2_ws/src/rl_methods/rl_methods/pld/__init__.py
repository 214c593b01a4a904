# SPDX-License-Identifier: Apache-2.0
"""PLD: a residual on the VLA's own chunk, warm-started on its successes (arXiv 2511.00091)."""
