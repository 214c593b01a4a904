# SPDX-License-Identifier: Apache-2.0
"""Weights of the small policies on their way from learner to robot: packed, cut, put together, verified.

A set is one safetensors file whose metadata holds the architecture as canonical JSON, and a manifest that travels with
each piece. Nothing in it is executed, and nothing is allocated from a number that was not checked first.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rl_methods.common.architecture import canonical, hash_of

PIECE_BYTES = 1 << 20
LEAST_PIECE_BYTES = 1 << 18
MAX_PIECES = 64  # what the topic keeps for a late reader
MAX_HEADER_BYTES = 1 << 20
DTYPES = (torch.float32, torch.bool)
_ARCHITECTURE = "architecture"


class WeightsError(ValueError):
    """A set of weights that is refused.

    Attributes:
        reason: One word: size, pieces, sha256, signature, header, architecture, dtype, not_finite, method, contract,
            run, old, shape, probe.
    """

    def __init__(self, reason: str, text: str) -> None:
        """Keep both parts."""
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True)
class PolicyManifest:
    """What is said of a set.

    Attributes:
        method: Whose weights they are.
        run: Training run.
        step: Updates done.
        version: Strictly growing within a run, from 1.
        parent: Version that this one was trained from, 0 for none.
        architecture_hash: SHA-256 of the canonical architecture.
        contract_hash: Of the VLA's contract.
        sha256: Of the whole file.
        total_bytes: Of the whole file.
        created_ns: When (ns since 1970).
        signature: HMAC-SHA256 (hex) of everything above with a key that learner and robot share; empty without one.
    """

    method: str
    run: str
    step: int
    version: int
    parent: int
    architecture_hash: str
    contract_hash: str
    sha256: str
    total_bytes: int
    created_ns: int
    signature: str = ""

    def sign(self, key: bytes) -> str:
        """The signature that belongs to it."""
        said = {name: value for name, value in asdict(self).items() if name != "signature"}
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, eq=False)
class PolicySet:
    """A set that is whole and well formed. Whether a method can use it is the method's to say.

    Attributes:
        manifest: What was said of it.
        architecture: Fields of the method's actor configuration.
        tensors: By name, finite.
    """

    manifest: PolicyManifest
    architecture: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def pack(
    tensors: Mapping[str, Tensor],
    architecture: Mapping[str, Any],
    *,
    method: str,
    run: str,
    step: int,
    version: int,
    parent: int,
    contract_hash: str,
    created_ns: int,
    key: bytes = b"",
) -> tuple[PolicyManifest, bytes]:
    """A set as bytes, and its manifest, signed when there is a key."""
    text = canonical(architecture)
    data = save({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, metadata={_ARCHITECTURE: text})
    manifest = PolicyManifest(
        method=method, run=run, step=step, version=version, parent=parent, architecture_hash=hash_of(text),
        contract_hash=contract_hash, sha256=hashlib.sha256(data).hexdigest(), total_bytes=len(data),
        created_ns=created_ns,
    )  # fmt: skip
    return replace(manifest, signature=manifest.sign(key)) if key else manifest, data


def split(data: bytes, piece_bytes: int | None = None) -> list[bytes]:
    """The pieces of a file, in order; by default as small as their number allows, so that no message takes long.

    Raises:
        ValueError: It needs more pieces than the topic keeps.
    """
    size = piece_bytes or max(LEAST_PIECE_BYTES, -(-len(data) // MAX_PIECES))
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    if len(pieces) > MAX_PIECES or size > PIECE_BYTES:
        raise ValueError(
            f"{len(data)} bytes make {len(pieces)} pieces of {size}, at most {MAX_PIECES} of {PIECE_BYTES}"
        )
    return pieces


class Assembler:
    """Puts pieces together, in whatever order and however often they come.

    Args:
        max_bytes: Of one set.
        max_open: Unfinished sets kept; the oldest is given up first, so that no sender can fill the memory.
    """

    def __init__(self, max_bytes: int, max_open: int = 3) -> None:
        self._max_bytes, self._max_open = max_bytes, max_open
        self._open: dict[tuple[PolicyManifest, int], dict[int, bytes]] = {}

    def offer(self, manifest: PolicyManifest, piece: int, pieces: int, data: bytes) -> bytes | None:
        """Takes a piece; gives the file when it was the last one that lacked.

        Raises:
            WeightsError: The piece contradicts its manifest or another piece.
        """
        self._check(manifest, piece, pieces, data)
        key = (manifest, pieces)
        parts = self._open.setdefault(key, {})
        if parts.setdefault(piece, data) != data:
            del self._open[key]
            raise WeightsError("pieces", f"piece {piece} of {pieces} came twice and differs")
        if sum(map(len, parts.values())) > manifest.total_bytes:
            del self._open[key]
            raise WeightsError("size", f"the pieces hold more than the {manifest.total_bytes} bytes announced")
        if len(parts) == pieces:
            del self._open[key]
            return b"".join(parts[number] for number in range(pieces))
        while len(self._open) > self._max_open:
            del self._open[next(k for k in self._open if k != key)]
        return None

    def _check(self, manifest: PolicyManifest, piece: int, pieces: int, data: bytes) -> None:
        if not 0 < manifest.total_bytes <= self._max_bytes:
            raise WeightsError("size", f"{manifest.total_bytes} bytes announced, allowed: 1..{self._max_bytes}")
        if not 1 <= pieces <= MAX_PIECES or not 0 <= piece < pieces:
            raise WeightsError("pieces", f"piece {piece} of {pieces}, at most {MAX_PIECES}")
        if not 0 < len(data) <= PIECE_BYTES:
            raise WeightsError("pieces", f"piece {piece} of {pieces} has {len(data)} bytes, allowed: 1..{PIECE_BYTES}")


def unpack(
    manifest: PolicyManifest,
    data: bytes,
    *,
    method: str,
    contract_hash: str,
    run: str | None = None,
    newer_than: int = 0,
    key: bytes = b"",
) -> PolicySet:
    """The set in a file, after every check that needs no network.

    Args:
        manifest: What was said of it.
        data: The file.
        method: That is expected.
        contract_hash: That is expected.
        run: That is expected; any when None.
        newer_than: The version must be larger.
        key: That the manifest must be signed with; empty takes everything.

    Raises:
        WeightsError: With a reason, and the two values that disagree.
    """
    check_bytes(manifest, data)
    if key and not hmac.compare_digest(manifest.sign(key).encode(), manifest.signature.encode()):
        raise WeightsError("signature", "not signed with this robot's key" if manifest.signature else "not signed")
    _agree("method", method, manifest.method)
    _agree("contract", contract_hash, manifest.contract_hash)
    if run is not None:
        _agree("run", run, manifest.run)
    if manifest.version <= newer_than:
        raise WeightsError("old", f"version {manifest.version} is not newer than {newer_than}")
    architecture = _architecture(data, manifest)
    return PolicySet(manifest, architecture, _tensors(data))


def check_bytes(manifest: PolicyManifest, data: bytes) -> None:
    """They are exactly those that were announced.

    Raises:
        WeightsError: They are not.
    """
    if len(data) != manifest.total_bytes:
        raise WeightsError("size", f"{len(data)} bytes came, {manifest.total_bytes} were announced")
    digest = hashlib.sha256(data).hexdigest()
    if digest != manifest.sha256:
        raise WeightsError("sha256", f"the bytes have SHA-256 {digest[:12]}, {manifest.sha256[:12]!r} was announced")


def _agree(reason: str, expected: str, found: str) -> None:
    if expected != found:
        raise WeightsError(reason, f"{reason} is {found[:40]!r}, this robot's is {expected[:40]!r}")


def _architecture(data: bytes, manifest: PolicyManifest) -> dict[str, Any]:
    """What the header says of itself; the tensors are left to the library."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise WeightsError("header", f"a header of {length} bytes in a file of {len(data)}")
    try:
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        text = metadata[_ARCHITECTURE]
        architecture = json.loads(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError("header", f"no architecture in the header ({type(error).__name__})") from error
    if not isinstance(text, str) or hash_of(text) != manifest.architecture_hash or not isinstance(architecture, dict):
        raise WeightsError("architecture", "the architecture is not the one that was announced")
    return architecture


def _tensors(data: bytes) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise WeightsError("header", f"not a safetensors file: {error}") from error
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise WeightsError("dtype", f"{name!r} is {tensor.dtype}, allowed: {', '.join(map(str, DTYPES))}")
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError("not_finite", f"{name!r} is not finite")
    return tensors
