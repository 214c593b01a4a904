# SPDX-License-Identifier: Apache-2.0
"""Episodes and the operator: running, judging, intervening; without torch."""
