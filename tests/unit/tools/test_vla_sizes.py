# SPDX-License-Identifier: Apache-2.0
"""The latency table of a PI0: its rows and units at the smallest size, and the page that it is written into."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from transformers import PI0ForConditionalGeneration

from fakes.threads import one_thread

sys.path.append(str(Path(__file__).resolve().parents[3] / "bench"))

import page  # noqa: E402
import random_pi0  # noqa: E402
import vla_sizes  # noqa: E402
from figures import Figure, summarise  # noqa: E402

MACHINE = {"cores": "2", "conditions": "quiet"}


def test_when_run_without_a_gpu_expect_every_row_with_its_unit_and_what_it_is_compared_with(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(random_pi0.os, "sched_getaffinity", lambda _pid: {0})
    file = tmp_path / "out" / "sizes.json"
    with one_thread():
        assert vla_sizes.main(["--sizes", "tiny", "--repeats", "1", "--json", str(file)]) == 0
    body = json.loads(file.read_text())
    rows = {f.name.split("), ")[1]: f for f in map(Figure.from_json, body["figures"])}
    decisions = ["N = 1", "N = 8", "N = 16", "N = 1, real-time chunking", "N = 8, real-time chunking"]
    assert list(rows) == ["prefix alone", *decisions, "peak memory"]
    assert [rows[name].unit for name in rows] == ["ms"] * 6 + ["GB"]
    assert all(0.0 < row.p50 <= row.p99 < math.inf and row.count == 1 for row in rows.values())
    compared = {name: row.baseline.rpartition("), ")[2] for name, row in rows.items() if row.baseline}
    assert compared == {"N = 8": "N = 1", "N = 16": "N = 1", decisions[3]: "N = 1", decisions[4]: "N = 8"}
    assert rows["N = 8"].ratio == pytest.approx(rows["N = 8"].p50 / rows["N = 1"].p50)
    # A build for CUDA says so in its own version, and not always in that of its package.
    assert body["machine"]["gpu"] == "none" and torch.__version__.startswith(body["machine"]["torch"])
    said = capsys.readouterr().out
    assert "no GPU at hand" in said and all(f"float32, cpu), {name} |" in said for name in rows)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["--sizes", "huge"], "size is 'huge', allowed: tiny, 300m, 3b"), (["--device", "cuda"], "torch finds no GPU")],
)
def test_when_it_cannot_be_measured_expect_one_sentence_and_code_two(words, sentence, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert vla_sizes.main(words) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(("name", "millions"), [("300m", 300), ("3b", 3240)])
def test_when_a_size_is_named_expect_a_network_of_so_many_parameters(name, millions):
    with torch.device("meta"):
        network = PI0ForConditionalGeneration(random_pi0.SIZES[name]())
    count = sum(p.numel() for key, p in network.named_parameters() if "dit.embed_tokens" not in key)
    assert count / 1e6 == pytest.approx(millions, rel=0.1)


def test_when_one_benchmark_is_run_again_expect_its_section_alone_replaced():
    old = [summarise(group, "row", "ms", [value]) for group, value in (("First", 1.0), ("Second", 2.0), ("Last", 3.0))]
    text = page.whole({"cores": "64"}, old)
    new = page.with_sections(text, MACHINE, [summarise("Second", "row", "ms", [7.0])])
    before, after = (t.split("\n## ") for t in (text, new))
    assert [s.split("\n")[0] for s in after] == [s.split("\n")[0] for s in before]
    assert after[3].endswith(
        "| row | 7 | 7 | ms | 1 |  |  |\n\nMeasured apart from the rest: cores 2, conditions quiet.\n"
    )
    assert [s.strip() for s in after[:3] + after[4:]] == [s.strip() for s in before[:3] + before[4:]]
    assert page.with_sections(new, MACHINE, [summarise("Second", "row", "ms", [7.0])]) == new


def test_when_a_benchmark_is_new_expect_its_section_at_the_end():
    text = page.whole({}, [summarise("First", "row", "ms", [1.0])])
    new = page.with_sections(text, MACHINE, [summarise("New", "row", "GB", [4.0])])
    assert new.startswith(text.rstrip()) and new.index("## First") < new.index("## New")
