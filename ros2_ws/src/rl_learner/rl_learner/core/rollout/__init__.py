# SPDX-License-Identifier: Apache-2.0
"""Episodes in process: a policy, a VLA and a scene, giving the transitions that the graph would give."""
