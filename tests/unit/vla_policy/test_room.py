# SPDX-License-Identifier: Apache-2.0
"""A fine-tuning that cannot fit into memory or on the disk is refused before it begins, with figures."""

import collections
import shutil

import psutil
import pytest
import torch
from transformers import PI0Config

from harness.published import checkpoint
from vla_policy.core.flow import Prefix
from vla_policy.core.training import room
from vla_policy.core.training.room import DiskRoom, TrainingMemory, check_memory
from vla_policy.core.training.settings import SftConfig
from vla_policy.core.training.windows import ImageRow, PrefixRow

GIB = 2**30
CPU = torch.device("cpu")


def gib(**settings):
    needed = TrainingMemory.of(PI0Config(), SftConfig(**settings))
    return needed.weights / GIB, needed.optimiser / GIB


def test_when_a_pi0_of_real_size_is_trained_expect_what_moves_to_make_the_difference():
    weights, expert = gib()
    # 3.3 billion numbers of four bytes, of which the action expert has 0.3
    assert weights == pytest.approx(12.1, rel=0.1) and expert == pytest.approx(4.7, rel=0.1)
    assert gib(ema_decay=0.0)[1] == pytest.approx(0.75 * expert)
    _, whole = gib(scope="whole")
    assert whole == pytest.approx(4 * weights)
    heavier, adapters = gib(scope="whole", lora=16)
    assert 0.0 < heavier - weights < 0.05 * weights and 0.0 < adapters < 0.1 * whole


def test_when_the_machine_has_less_memory_than_a_training_takes_expect_figures_and_what_takes_less(
    tmp_path, monkeypatch
):
    folder = checkpoint(tmp_path / "m")
    check_memory(folder, SftConfig(), CPU)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: collections.namedtuple("Memory", "available")(1024))
    with pytest.raises(ValueError, match=r"m: training it needs at least .* GiB of memory \(weights .*--lora 16"):
        check_memory(folder, SftConfig(), CPU)


def prefix_row() -> PrefixRow:
    part = torch.zeros(1, 1, 8, 4)
    return PrefixRow(Prefix((part, part), (part, part), None, (), part), torch.zeros(1, 2), torch.zeros(3, 2))


def test_when_windows_will_not_fit_on_the_disk_expect_it_said_after_a_few_episodes(tmp_path, monkeypatch):
    row = prefix_row()
    assert row.disk_bytes == 2 * 4 * 32
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(10000, 0, 5 * 2560))
    for episodes, fits in ((10, True), (11, False)):
        watch = DiskRoom(tmp_path, episodes)
        for done in range(1, 6):
            for _ in range(10):
                watch.add(row)
            if done < 5 or fits:
                watch.check(done)
        if not fits:
            with pytest.raises(ValueError, match=r"5 of 11 episodes takes .* GB .*`stride`.*fewer episodes"):
                watch.check(5)


def test_when_windows_are_images_expect_a_byte_for_each_number():
    row = ImageRow(
        torch.zeros(2, 4, 4, 3, dtype=torch.uint8), torch.zeros(1, 5), None, torch.zeros(1, 2), torch.zeros(3, 2)
    )
    assert row.disk_bytes == 96
