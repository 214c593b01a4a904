# SPDX-License-Identifier: Apache-2.0
"""Around the actor half of a method: checks of what goes in and comes out, and the weights that decide."""
