# SPDX-License-Identifier: Apache-2.0
"""Between messages and plain data for weights, and the key that both ends may share."""

from __future__ import annotations

from array import array

from vla_interfaces.msg import PolicyWeights, WeightsAck

from rl_methods.common.weights import PolicyManifest
from whetstone_common.core.reason import Reason, ReasonedError
from whetstone_common.nodes.convert import to_ns, to_time
from whetstone_common.nodes.resources import find

_FIELDS = (
    "method", "run", "step", "version", "parent", "architecture_hash", "contract_hash", "sha256", "total_bytes",
    "signature",
)  # fmt: skip
_LEAST_KEY_BYTES = 16
_MAX_REASON = 300


def from_piece(manifest: PolicyManifest, piece: int, pieces: int, data: bytes) -> PolicyWeights:
    """Message of one piece."""
    fields = {name: getattr(manifest, name) for name in _FIELDS}
    return PolicyWeights(
        **fields, piece=piece, pieces=pieces, data=array("B", data), created=to_time(manifest.created_ns)
    )


def to_manifest(msg: PolicyWeights) -> PolicyManifest:
    """What a piece says of its set."""
    return PolicyManifest(**{name: getattr(msg, name) for name in _FIELDS}, created_ns=to_ns(msg.created))


def from_verdict(manifest: PolicyManifest, refusal: str, now_ns: int) -> WeightsAck:
    """Answer to a set; an empty refusal means that it is taken."""
    return WeightsAck(
        method=manifest.method,
        run=manifest.run,
        version=manifest.version,
        accepted=not refusal,
        reason=refusal[:_MAX_REASON],
        time=to_time(now_ns),
    )


def read_key(name: str) -> bytes:
    """The shared key in a file; empty when no file is named.

    Raises:
        ReasonedError: The file cannot be read, or is too short to be a key.
    """
    if not name:
        return b""
    try:
        key = find(name).read_bytes().strip()
    except OSError as error:
        raise ReasonedError(Reason.BAD_PARAMETER, f"weights_key_file = {name!r}: {error.strerror}") from error
    if len(key) < _LEAST_KEY_BYTES:
        text = f"weights_key_file = {name!r}: {len(key)} bytes, a key has at least {_LEAST_KEY_BYTES}"
        raise ReasonedError(Reason.BAD_PARAMETER, text)
    return key
