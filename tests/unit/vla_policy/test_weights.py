# SPDX-License-Identifier: Apache-2.0
"""Weights on their way to the robot: nothing but exactly what was packed comes out."""

from __future__ import annotations

import builtins
import hashlib
import json
import pickle  # noqa: TID251 - made here, to be refused
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from rl_methods.common.architecture import canonical, hash_of
from rl_methods.common.weights import Assembler, PolicyManifest, PolicySet, WeightsError, pack, split, unpack

ARCHITECTURE = {"features": 3, "hidden": [4]}
EXPECTED: dict[str, Any] = {"method": "expo", "contract_hash": "c", "run": "r", "newer_than": 6}


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"a": torch.randn(2, 3), "b/c": torch.tensor(data=True)}


def packed(architecture: Any = ARCHITECTURE, key: bytes = b"", **changes: Any) -> tuple[PolicyManifest, bytes]:
    fields = {"method": "expo", "run": "r", "step": 9, "version": 7, "parent": 6, "contract_hash": "c"}
    return pack(tensors(), architecture, **fields | changes, created_ns=5, key=key)


def forged(data: bytes) -> PolicyManifest:
    """A manifest that fits bytes which nobody packed."""
    digest = hashlib.sha256(data).hexdigest()
    return replace(packed()[0], total_bytes=len(data), sha256=digest, architecture_hash=hash_of("{}"))


def refused(manifest: PolicyManifest, data: bytes, **changes: Any) -> str:
    """The reason that the set is refused for."""
    with pytest.raises(WeightsError) as caught:
        unpack(manifest, data, **EXPECTED | changes)
    assert str(caught.value)
    return caught.value.reason


def same(found: PolicySet) -> bool:
    wanted = tensors()
    return found.tensors.keys() == wanted.keys() and all(torch.equal(found.tensors[n], wanted[n]) for n in wanted)


def test_when_packed_expect_the_same_tensors_and_architecture_back() -> None:
    manifest, data = packed()
    found = unpack(manifest, data, **EXPECTED)
    assert same(found) and found.architecture == ARCHITECTURE and found.manifest == manifest


@pytest.mark.parametrize("seed", range(20))
def test_when_pieces_come_in_any_order_and_twice_expect_the_file_once(seed: int) -> None:
    manifest, data = packed()
    chance = random.Random(seed)
    pieces = list(enumerate(split(data, 20)))
    order = [*pieces, *chance.sample(pieces, len(pieces) // 2)]
    last = chance.randrange(len(pieces))
    order = [p for p in order if p[0] != last]
    chance.shuffle(order)
    assembler = Assembler(10_000)
    assert [assembler.offer(manifest, n, len(pieces), part) for n, part in order] == [None] * len(order)
    assert assembler.offer(manifest, last, len(pieces), pieces[last][1]) == data


def test_when_two_senders_mix_their_pieces_expect_both_files_whole() -> None:
    one, other = packed(), packed(version=8)
    assembler = Assembler(10_000)
    files = []
    for n, parts in enumerate(zip(split(one[1], 50), split(other[1], 50), strict=True)):
        for (manifest, data), part in zip((one, other), parts, strict=True):
            files.append(assembler.offer(manifest, n, len(split(data, 50)), part))
    assert files[-2:] == [one[1], other[1]]


@pytest.mark.parametrize(
    ("piece", "pieces", "data", "reason"),
    [(2, 2, b"x", "pieces"), (0, 0, b"x", "pieces"), (0, 65, b"x", "pieces"), (0, 1, b"", "pieces"),
     (0, 1, b"x" * (1 << 20 | 1), "pieces"), (0, 2, b"x" * 5000, "size")],
)  # fmt: skip
def test_when_a_piece_contradicts_expect_refusal(piece: int, pieces: int, data: bytes, reason: str) -> None:
    with pytest.raises(WeightsError) as caught:
        Assembler(10_000).offer(packed()[0], piece, pieces, data)
    assert caught.value.reason == reason


def test_when_a_piece_comes_twice_and_differs_expect_refusal_and_a_second_try_to_work() -> None:
    manifest, data = packed()
    first, *rest = split(data, 50)
    assembler = Assembler(10_000)
    assembler.offer(manifest, 0, 1 + len(rest), first)
    with pytest.raises(WeightsError, match="differs"):
        assembler.offer(manifest, 0, 1 + len(rest), first[::-1])
    assert [assembler.offer(manifest, n, 1 + len(rest), p) for n, p in enumerate([first, *rest])][-1] == data


@pytest.mark.parametrize("announced", [0, 10_001])
def test_when_more_is_announced_than_allowed_expect_refusal_before_it_is_kept(announced: int) -> None:
    with pytest.raises(WeightsError, match=f"{announced} bytes announced"):
        Assembler(10_000).offer(replace(packed()[0], total_bytes=announced), 0, 1, b"x")


def test_when_many_sets_are_begun_expect_only_a_few_kept() -> None:
    manifest, _ = packed()
    assembler = Assembler(10_000)
    for version in range(100):
        assembler.offer(replace(manifest, version=version), 0, 2, b"x")
    assert len(assembler._open) == 3


@pytest.mark.parametrize(("size", "pieces"), [(1, 1), (1 << 18, 1), (1 << 20, 4), (1 << 24, 64), (1 << 26, 64)])
def test_when_a_file_is_cut_expect_small_pieces_and_never_more_than_the_topic_keeps(size: int, pieces: int) -> None:
    data = bytes(size)
    assert len(split(data)) == pieces and max(map(len, split(data))) <= 1 << 20
    assert sum(map(len, split(data))) == size


def test_when_a_file_is_larger_than_the_topic_keeps_expect_refusal_to_cut_it() -> None:
    with pytest.raises(ValueError, match="at most 64"):
        split(bytes((1 << 26) + 1))


@pytest.mark.row(27)
def test_when_a_small_file_is_cut_at_every_byte_expect_refusal_every_time() -> None:
    manifest, data = packed()
    for length in range(len(data)):
        assert refused(manifest, data[:length]) == "size"
        refused(forged(data[:length]), data[:length])
    assert same(unpack(manifest, data, **EXPECTED))


@pytest.mark.row(27)
def test_when_a_large_file_is_cut_at_random_expect_refusal_every_time() -> None:
    big = {"a": torch.ones(600_000)}
    manifest, data = pack(big, {}, method="expo", run="r", step=1, version=7, parent=0, contract_hash="c", created_ns=0)
    chance = random.Random(0)
    for length in chance.sample(range(len(data)), 100):
        assert refused(manifest, data[:length]) == "size"
        assert refused(forged(data[:length]), data[:length]) in ("header", "architecture")


@pytest.mark.row(28)
def test_when_any_bit_of_a_small_file_flips_expect_refusal_by_its_hash() -> None:
    manifest, data = packed()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert refused(manifest, bytes(flipped)) == "sha256"


@pytest.mark.row(28)
def test_when_a_random_bit_of_a_large_file_flips_expect_refusal_by_its_hash() -> None:
    big = {"a": torch.ones(100_000)}
    manifest, data = pack(big, {}, method="expo", run="r", step=1, version=7, parent=0, contract_hash="c", created_ns=0)
    flipped = bytearray(data)
    for bit in random.Random(0).sample(range(8 * len(data)), 1000):
        flipped[bit // 8] ^= 1 << bit % 8
        assert refused(manifest, bytes(flipped)) == "sha256"
        flipped[bit // 8] ^= 1 << bit % 8


@pytest.mark.row(28)
@pytest.mark.parametrize(
    ("change", "reason"),
    [({"sha256": "0" * 64}, "sha256"), ({"sha256": ""}, "sha256"), ({"total_bytes": 1}, "size"),
     ({"architecture_hash": "0" * 64}, "architecture"), ({"contract_hash": "C"}, "contract"),
     ({"method": "dsrl"}, "method"), ({"run": "other"}, "run"), ({"version": 6}, "old"), ({"version": 5}, "old")],
)  # fmt: skip
def test_when_the_manifest_is_altered_expect_refusal_that_names_what(change: dict[str, Any], reason: str) -> None:
    manifest, data = packed()
    assert refused(replace(manifest, **change), data) == reason


@pytest.mark.row(29)
def test_when_the_number_or_its_type_is_wrong_expect_refusal() -> None:
    text = canonical(ARCHITECTURE)
    for tensor, reason in [
        (torch.tensor([float("nan")]), "not_finite"), (torch.tensor([float("inf")]), "not_finite"),
        (torch.zeros(2, dtype=torch.float16), "dtype"), (torch.zeros(2, dtype=torch.int64), "dtype"),
    ]:  # fmt: skip
        data = save({"a": tensor}, metadata={"architecture": text})
        assert refused(replace(forged(data), architecture_hash=hash_of(text)), data) == reason


@pytest.mark.row(29)
def test_when_an_architecture_is_not_finite_expect_it_not_to_be_packed() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        packed({"scale": float("nan")})


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return builtins.open, (str(self.path), "w")


@pytest.mark.row(30)
def test_when_bytes_that_would_run_code_come_expect_refusal_and_nothing_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    pickled = pickle.dumps(Bomb(marker))
    torch.save({"a": Bomb(marker)}, tmp_path / "file.pt")
    nested = json.dumps({"__metadata__": {"architecture": '{"py/object": "os.system"}'}}).encode()
    for data in (
        pickled,
        (tmp_path / "file.pt").read_bytes(),
        len(pickled).to_bytes(8, "little") + pickled,
        len(nested).to_bytes(8, "little") + nested + pickled,
        b"[" * 200_000,
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
    ):
        assert refused(forged(data), data) in ("header", "architecture")
    assert not marker.exists()


@pytest.mark.row(31)
def test_when_a_key_is_shared_expect_only_what_was_signed_with_it() -> None:
    manifest, data = packed(key=b"a shared secret!")
    assert same(unpack(manifest, data, **EXPECTED, key=b"a shared secret!"))
    assert refused(manifest, data, key=b"another secret!!") == "signature"
    assert refused(packed()[0], data, key=b"a shared secret!") == "signature"
    for change in ({"version": 99}, {"parent": 98}, {"step": 10}, {"created_ns": 6}, {"run": "s"}):
        assert refused(replace(manifest, **change), data, key=b"a shared secret!") == "signature"
