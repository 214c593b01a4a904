# SPDX-License-Identifier: Apache-2.0
"""HIL-SERL: RLPD from demonstrations and corrections, without a base policy (Luo et al., arXiv 2410.21845)."""
