# SPDX-License-Identifier: Apache-2.0
"""What touches the arm and the person: arm, episodes, operator, launch, command line."""
