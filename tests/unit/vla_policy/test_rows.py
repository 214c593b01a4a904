# SPDX-License-Identifier: Apache-2.0
"""Rows on disk are what was put there, and leave no file behind."""

import pytest
import torch

from vla_policy.core.training.rows import HalfRows


def test_when_rows_are_asked_for_expect_those_in_that_order(tmp_path):
    rows, wanted = HalfRows(tmp_path), torch.randn(7, 2, 3).half()
    for row in wanted:
        rows.append(row.float())
    assert len(rows) == 7
    numbers = torch.tensor([6, 0, 3, 3])
    assert torch.equal(rows[numbers], wanted[numbers])
    rows.append(wanted[0])
    assert torch.equal(rows[torch.tensor([7])], wanted[:1])
    assert not list(tmp_path.iterdir())


def test_when_a_row_has_another_shape_or_is_not_there_expect_that_said(tmp_path):
    rows = HalfRows(tmp_path)
    rows.append(torch.zeros(2))
    with pytest.raises(ValueError, match=r"row 1 has shape \(3,\)"):
        rows.append(torch.zeros(3))
    with pytest.raises(IndexError, match="row 1 of 1"):
        rows[torch.tensor([1])]
