# SPDX-License-Identifier: Apache-2.0
"""Commands of `whetstone` that have no module of their own beside what they run."""
