# SPDX-License-Identifier: Apache-2.0
import csv
import json
from pathlib import Path

import pytest

from whetstone_cli.core.report import Evaluation, rows_of, write_csv, write_json
from whetstone_common.core.enums import Outcome


def evaluation() -> Evaluation:
    rows = rows_of(
        "stack", "", seeds=[0, 1, 2], outcomes=[Outcome.SUCCEEDED, Outcome.ABORTED, Outcome.TIMED_OUT],
        steps=[50, 3, 160], durations_s=[2.5, 0.1, 8.0],
    )  # fmt: skip
    return Evaluation("stack", "", rows, wall_s=5.3)


def test_when_an_episode_was_aborted_expect_it_does_not_count_in_the_rate() -> None:
    assert (evaluation().rate.successes, evaluation().rate.episodes) == (1, 2)
    assert evaluation().figures()["aborted"] == 1


def test_when_one_succeeded_expect_its_time_alone() -> None:
    assert evaluation().mean_time_to_success_s == 2.5
    assert evaluation().times_real_time == pytest.approx(2.0)


def test_when_written_expect_json_and_csv_read_back_the_same(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "a.json", evaluation().figures())
    figures = json.loads((tmp_path / "deep" / "a.json").read_text())
    assert figures["rows"][2]["outcome"] == "timed_out"
    write_csv(tmp_path / "a.csv", evaluation().rows)
    with (tmp_path / "a.csv").open() as file:
        assert [row["seed"] for row in csv.DictReader(file)] == ["0", "1", "2"]
    assert not list(tmp_path.rglob("*.part"))


def test_when_a_figure_is_nan_expect_refusal_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_when_columns_differ_in_length_expect_refusal() -> None:
    with pytest.raises(ValueError, match="shorter|longer"):
        rows_of("stack", "", seeds=[0], outcomes=[], steps=[], durations_s=[])
