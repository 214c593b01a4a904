# SPDX-License-Identifier: Apache-2.0
"""The policy side of Whetstone: VLA backends and the nodes that serve them."""
