# SPDX-License-Identifier: Apache-2.0
"""The pages of the documentation site that are made from the code, and what MkDocs needs to add them."""
