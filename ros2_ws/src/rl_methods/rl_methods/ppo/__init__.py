# SPDX-License-Identifier: Apache-2.0
"""PPO on the action expert of a flow VLA (piRL, arXiv 2510.25889): in simulation, as it needs many episodes."""
