# SPDX-License-Identifier: Apache-2.0
"""The page and the server that gives it out; knows the node only by its interface."""
