# SPDX-License-Identifier: Apache-2.0
"""The client of a policy server that speaks openpi's protocol: msgpack with arrays, over a websocket."""
