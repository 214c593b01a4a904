# SPDX-License-Identifier: Apache-2.0
"""The matrix of ablations: what is run again, what is not, and what the table says of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"
sys.path.append(str(TOOLS / "rl"))

import curves  # noqa: E402
import jobs  # noqa: E402
import matrix  # noqa: E402
import record  # noqa: E402
import report  # noqa: E402

from rl_methods.config import differences, read_method_config  # noqa: E402
from rl_methods.registry import other_settings  # noqa: E402

# Stands in for train.py: writes the answer that lies beside it, or fails as it is told to there.
_TRAINER = """
import json, os, pathlib, sys
name = sys.argv[sys.argv.index("--out") + 1].removesuffix(".json.part")
here = pathlib.Path(__file__).parent
with (here / "started").open("a") as started:
    print(name, os.environ["OMP_NUM_THREADS"], file=started)
answer = json.loads((here / "answers.json").read_text())["/".join(name.split("/")[-3:])]
if answer is None:
    sys.exit("the arm fell off the table")
pathlib.Path(name + ".json.part").write_text(json.dumps(answer))
"""


def cell(task: str = "pick_place", key: str = "expo", seed: int = 0) -> matrix.Cell:
    return matrix.Cell(task, next(v for v in matrix.VARIANTS if v.key == key), seed)


@pytest.fixture
def plan(tmp_path: Path) -> matrix.Plan:
    model, trainer = tmp_path / "model", tmp_path / "trainer.py"
    model.mkdir()
    (model / "manifest.json").write_text('{"files": {}}', encoding="utf-8")
    trainer.write_text(_TRAINER, encoding="utf-8")
    return matrix.Plan(tmp_path / "results", model=model, trainer=trainer, record=tmp_path / "results.csv")


def made(plan: matrix.Plan, which: matrix.Cell, wins: int = 84, **more: Any) -> dict[str, Any]:
    """What train.py would write of a cell."""
    wanted = plan.wanted(which)
    named = {name: wanted[name] for name in ("task", "method", "seed", "candidates", "prior", "recipe")}
    counts = {"episodes": 30, "steps": 11_000 + 100 * which.seed, "human_share": 0.1 * which.seed, "updates": 3400}
    before, after = {"successes": 80, "episodes": 100}, {"successes": wins, "episodes": plan.evaluate}
    told = {"successes": [True] * 30, "helped": [False] * 15 + [True] * 15}
    return named | counts | {"before": before, "after": after} | told | more


def keep(plan: matrix.Plan, which: matrix.Cell, wins: int = 84, **more: Any) -> None:
    """A result that lies there already."""
    path = plan.file(which)
    path.parent.mkdir(parents=True, exist_ok=True)
    model = matrix.digest(plan.model)
    path.write_text(json.dumps(made(plan, which, wins) | {"model": model} | more), encoding="utf-8")


def record_of(plan: matrix.Plan, which: matrix.Cell, wins: int = 84) -> None:
    """A row of a run that was made on another machine."""
    record.keep(plan.record, [matrix.row_of(which, made(plan, which, wins))])


def answer(plan: matrix.Plan, answers: dict[str, Any]) -> None:
    (plan.trainer.parent / "answers.json").write_text(json.dumps(answers), encoding="utf-8")


def test_when_all_is_as_it_would_be_run_now_expect_the_cell_skipped(plan: matrix.Plan) -> None:
    keep(plan, cell())
    other = cell(key="expo_alone")
    assert matrix.missing(plan, [cell(), other]) == [other]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"model": "another"}, "model"),
        ({"candidates": 4}, "candidates: 4, now 8"),
        ({"after": {"successes": 9, "episodes": 10}}, "evaluated: 10, now 100"),
        ({"prior": "expert.npz"}, "prior: expert.npz, now "),
        ({"recipe": {"expo": {"margin": 9.0}}}, "recipe.expo.margin: 9.0, now"),
    ],
)
def test_when_something_was_made_otherwise_expect_another_run_that_says_so(
    plan: matrix.Plan, more: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(plan, cell(), **more)
    assert matrix.missing(plan, [cell()]) == [cell()]
    assert said in capsys.readouterr().out


def test_when_the_methods_file_changes_expect_another_run(
    plan: matrix.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(plan, cell())
    changed = tmp_path / "expo.yaml"
    changed.write_text(matrix.settings_file("expo").read_text().replace("margin: ", "margin: 1"), encoding="utf-8")
    monkeypatch.setattr(matrix, "settings_file", lambda _name: changed)
    assert matrix.missing(plan, [cell()]) == [cell()]


def test_when_a_result_was_cut_off_while_it_was_written_expect_another_run(plan: matrix.Plan) -> None:
    keep(plan, cell())
    plan.file(cell()).write_text('{"task": "pick', encoding="utf-8")
    assert matrix.missing(plan, [cell()]) == [cell()]


def test_when_a_cell_fails_expect_the_end_of_its_log_and_the_others_run(
    plan: matrix.Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good, more = cell(), cell(key="n_4"), cell("insert", "dsrl", 2)
    answer(plan, {bad.name: None, good.name: made(plan, good), more.name: made(plan, more)})
    assert jobs.run(plan, [bad, good, more], jobs=2) == [bad.name]
    assert "the arm fell off the table" in capsys.readouterr().out
    assert matrix.missing(plan, [bad, good, more]) == [bad]
    started = (plan.trainer.parent / "started").read_text(encoding="utf-8").splitlines()
    assert [line.split()[1] for line in started] == ["1", "1", "1"]


def test_when_a_run_is_not_the_one_that_was_asked_for_expect_it_refused(
    plan: matrix.Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(plan, {cell().name: made(plan, cell()) | {"seed": 7}})
    assert jobs.run(plan, [cell()], jobs=1) == [cell().name]
    assert "seed: 7, now 0" in capsys.readouterr().out
    assert not plan.file(cell()).exists()


def test_when_a_variant_changes_n_expect_it_in_the_command_and_in_the_recipe(plan: matrix.Plan) -> None:
    few = cell(key="n_1")
    command = plan.command(few, Path("out.json"))
    assert command[command.index("--candidates") + 1] == "1"
    assert command[command.index("--set") + 1 :] == ["expo.best_of=1", "expo.backup_candidates=1"]
    expo = plan.wanted(few)["recipe"]["expo"]
    assert (expo["best_of"], expo["backup_candidates"]) == (1, 1)
    assert plan.wanted(cell(key="n_16"))["recipe"]["expo"]["backup_candidates"] == 4


def test_when_a_base_was_evaluated_on_other_scenes_or_of_another_model_expect_another_file(plan: matrix.Plan) -> None:
    before = plan.base(cell())
    assert plan.base(cell(key="dsrl", seed=2)) == before
    assert matrix.Plan(plan.folder, 10, model=plan.model).base(cell()) != before
    (plan.model / "manifest.json").write_text('{"files": {"a": "b"}}', encoding="utf-8")
    assert plan.base(cell()) != before


def test_when_two_of_three_seeds_are_there_expect_their_figures_and_a_dash(plan: matrix.Plan) -> None:
    record_of(plan, cell(), wins=84)
    record_of(plan, cell(seed=2), wins=90)
    lines = {row.variant.key: row.line() for row in report.rows(plan) if row.task == "pick_place"}
    # Wilson of 174 of 200, and means over seeds 0 and 2
    assert lines["expo"] == "| pick_place | expo | 2 of 3 | 0.80 | 0.84 – 0.90 | 0.87 | 0.82 to 0.91 | 0.10 | 11 100 |"
    assert lines["no_edit_policy"] == "| pick_place | no edit policy | 0 of 3 | – | – | – | – | – | – |"
    assert len(report.rows(plan)) == len(matrix.TASKS) * len(matrix.VARIANTS)


def test_when_a_run_is_in_the_record_expect_it_not_made_again_on_another_machine(plan: matrix.Plan) -> None:
    record_of(plan, cell())
    assert matrix.missing(plan, [cell(), cell(seed=1), cell(key="expo_alone")]) == [
        cell(seed=1),
        cell(key="expo_alone"),
    ]


def test_when_a_run_has_ended_expect_its_row_in_place_of_the_earlier_one(plan: matrix.Plan) -> None:
    record_of(plan, cell(), wins=10)
    alone = cell(key="expo_alone")
    answer(plan, {cell().name: made(plan, cell(), 84), alone.name: made(plan, alone, 70, train_s=61)})
    assert jobs.run(plan, [cell(), alone], jobs=1) == []
    helped, by_itself = record.read_rows(plan.record)
    assert (helped.after, helped.human, helped.variant, helped.control_steps) == (0.84, 1, "shipped", 11_000)
    assert (by_itself.after, by_itself.human, by_itself.wall_s, by_itself.robot_minutes) == (0.7, 0, 61.0, 9.17)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task,method\n", "columns are"),
        (",".join(record.COLUMNS) + "\npick_place,expo,shipped,x,1,.5,.5,9,,,,,graph\n", "line 2: seed is 'x'"),
    ],
)
def test_when_a_record_cannot_be_read_expect_its_line_and_column(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "results.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        record.read_rows(path)


def test_when_the_repositorys_record_is_read_expect_shares_of_one(tmp_path: Path) -> None:
    rows = record.read_rows(matrix.RECORD)
    assert rows and all(0.0 <= row.base <= 1.0 and 0.0 <= row.after <= 1.0 and row.episodes >= 1 for row in rows)
    assert len({row.key for row in rows}) == len(rows)
    record.keep(tmp_path / "copy.csv", rows)
    assert (tmp_path / "copy.csv").read_text() == matrix.RECORD.read_text()


def test_when_every_method_is_listed_expect_the_first_task_with_all_seeds_first() -> None:
    first = matrix.MATRIX[: 3 * len(matrix.METHODS)]
    assert {cell.task for cell in first} == {"pick_place"} and {cell.seed for cell in first} == {0, 1, 2}
    assert len(set(matrix.MATRIX)) == len(matrix.MATRIX) == 3 * 3 * len(matrix.VARIANTS)


def test_when_reported_twice_expect_one_block_and_the_text_around_it_kept(plan: matrix.Plan, tmp_path: Path) -> None:
    page, picture = tmp_path / "docs" / "page.md", tmp_path / "docs" / "images" / "results.png"
    page.parent.mkdir()
    page.write_text("# Results\n\nWords.\n", encoding="utf-8")
    report.report(plan, page, picture)
    assert page.read_text(encoding="utf-8").endswith("\nNo run has been made yet.\n<!-- results:end -->\n")
    for seed in (0, 1):
        keep(plan, cell(seed=seed))
        record_of(plan, cell(seed=seed))
    page.write_text(page.read_text(encoding="utf-8") + "\nMore.\n", encoding="utf-8")
    report.report(plan, page, picture)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Results\n\nWords.\n\n<!-- results:begin -->\n")
    assert text.endswith("](images/results.png)\n<!-- results:end -->\n\nMore.\n")
    assert text.count("| 2 of 3 |") == 1
    assert cv2.imread(str(picture)).shape[1] == 1350
    assert picture.stat().st_size < 250_000


@pytest.mark.parametrize("text", ["<!-- results:begin -->", "<!-- results:end --> <!-- results:begin -->"])
def test_when_the_markers_are_no_pair_expect_refusal_and_not_half_a_page(text: str) -> None:
    with pytest.raises(ValueError, match="expected one"):
        report.replace_block(text, "new")


def test_when_ticks_are_recorded_expect_them_on_the_axis_and_else_an_even_share(plan: matrix.Plan) -> None:
    even = made(plan, cell())
    steps, won, alone = curves.training_curve(even)
    assert len(steps) == 11
    assert steps[-1] == pytest.approx(11_000)
    assert (won[-1], alone[0], alone[-1]) == (1.0, 0.75, 0.25)
    told, _, _ = curves.training_curve(even | {"ticks": [10] * 29 + [160]})
    assert list(told[-2:]) == [290, 450]


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        ("every_2_alone", []),
        ("critic_driven_alone", ["schedule.query_every: 2, now 0"]),
        ("critic_driven", ["schedule.interventions: False, now True", "schedule.query_every: 2, now 0"]),
    ],
)
def test_when_expo_is_driven_by_its_critic_expect_the_shipped_settings_for_it_and_few_changes(
    plan: matrix.Plan, key: str, changed: list[str]
) -> None:
    file = other_settings("expo")["without_operator"]
    shipped = json.loads(json.dumps(read_method_config(file, {}).resolved()))
    assert differences(shipped, plan.wanted(cell(key=key))["recipe"]) == changed
    command = plan.command(cell(key=key), plan.folder)
    assert command[command.index("--method") + 1] == str(file)


def test_when_a_run_has_ended_expect_its_curve_in_place_of_the_earlier_one(plan: matrix.Plan, tmp_path: Path) -> None:
    expo, ablation = cell(seed=1), cell(key="n_1")
    answers = {"pick_place/expo/1": made(plan, expo), "pick_place/n_1/0": made(plan, ablation)}
    (tmp_path / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    other = curves.CurvePoint("pick_place", "rlt", 0, 1, 1.0, 0.5, 0.25)
    stale = curves.CurvePoint("pick_place", "expo", 1, 1, 1.0, 0.0, 0.0)
    curves.keep_points(plan.curves, [other, stale])
    assert jobs.run(plan, [expo, ablation], 2) == []
    kept = curves.read_points(plan.curves)
    assert kept[0] == other and stale not in kept
    mine = [point for point in kept if point.run == ("pick_place", "expo", 1, 1)]
    assert len(mine) == 11 and len(kept) == 1 + 2 * 11
    assert mine[-1].robot_minutes == pytest.approx(11_100 * 0.05 / 60.0, abs=1e-3)
    assert (mine[-1].success, mine[-1].unaided) == (1.0, 0.25)


def test_when_curves_are_drawn_expect_a_row_of_panels_for_each_task(tmp_path: Path) -> None:
    points = [
        curves.CurvePoint(task, "expo", 0, human, minute, 0.5, 0.1 * minute)
        for task in ("pick_place", "stack")
        for human in (0, 1)
        for minute in (1.0, 5.0, 9.0)
    ]
    curves.draw_curves(points[:6], {"expo": "EXPO"}, tmp_path / "one.png")
    curves.draw_curves(points, {"expo": "EXPO"}, tmp_path / "two.png")
    one, two = cv2.imread(str(tmp_path / "one.png")), cv2.imread(str(tmp_path / "two.png"))
    assert one.shape[1] == two.shape[1] == 1000 and two.shape[0] == 2 * one.shape[0]
