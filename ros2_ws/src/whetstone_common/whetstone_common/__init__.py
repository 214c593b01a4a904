# SPDX-License-Identifier: Apache-2.0
"""What every Whetstone node needs: QoS profiles, stamps, parameter schema, node base, kinematics."""
