# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for hardware and neighbours that speak the real messages and fail when told."""
