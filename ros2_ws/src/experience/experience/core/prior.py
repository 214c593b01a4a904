# SPDX-License-Identifier: Apache-2.0
"""Prior data: the transitions that another run, or a batch job over demonstrations, has left in its folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from experience.core.codec import TRANSITION_SCHEMA, decode, encode
from experience.core.spool import RecordKind, Spool, SpoolEntry, SpoolLimits, read_all
from experience.core.transition import Transition
from whetstone_common.core.outputs import new_folder

_FOLDER, _ORIGIN = "transitions", "prior.json"
_LIMITS = SpoolLimits(max_bytes=64_000_000_000, segment_bytes=64_000_000)


def transitions_in(folder: Path, lost: list[str] | None = None) -> Iterator[Transition]:
    """All transitions of a run's folder in the order in which they were stored.

    Args:
        folder: Of the run.
        lost: Takes a sentence for each damaged place, which is passed over.

    Raises:
        ValueError: There is no such folder, it holds none, or a record cannot be read.
    """
    stored, is_empty = folder.expanduser() / _FOLDER, True
    if not stored.is_dir():
        raise ValueError(f"{folder}: no transitions there")
    for record in read_all(stored, lost):
        if record.kind is RecordKind.DATA:
            is_empty = False
            yield decode(record.payload)
    if is_empty:
        raise ValueError(f"{folder} holds no transition: there is nothing to learn from")


def weights_behind(folder: Path) -> str:
    """SHA-256 of the VLA whose features a folder holds, as `write_prior` noted it; empty where nobody did."""
    try:
        return str(json.loads((folder.expanduser() / _ORIGIN).read_text(encoding="utf-8"))["weights_sha256"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / _ORIGIN}: {type(error).__name__}: {error}") from error


def check_weights(folder: Path, served: str) -> None:
    """Refuse prior data of another VLA than the one that is served; what is unknown is not compared.

    Raises:
        ValueError: Naming both.
    """
    behind = weights_behind(folder)
    if behind and served and behind != served:
        raise ValueError(f"{folder} was made with VLA weights {behind[:12]}, served are {served[:12]}: make it again")


def write_prior(folder: Path, episodes: Iterable[Sequence[Transition]], weights_sha256: str, identity: int) -> int:
    """Stores the transitions of episodes where `transitions_in` finds them; returns how many there are.

    The folder appears when it is whole.

    Args:
        folder: To make.
        episodes: Transitions of each.
        weights_sha256: Of the VLA that computed them; its features mean nothing to the small policies of another.
        identity: Of the spool, as `Spool` takes it.

    Raises:
        FileExistsError: The folder is there already.
        ValueError: There is not one transition.
    """
    count = 0
    with new_folder(folder) as unfinished:
        with closing(Spool(unfinished / _FOLDER, _LIMITS, identity=identity)) as spool:
            for transitions in episodes:
                spool.append([SpoolEntry(RecordKind.DATA, TRANSITION_SCHEMA, encode(made)) for made in transitions])
                count += len(transitions)
        _check_not_empty(folder, count)
        (unfinished / _ORIGIN).write_text(json.dumps({"weights_sha256": weights_sha256}) + "\n", encoding="utf-8")
    return count


def _check_not_empty(folder: Path, count: int) -> None:
    if not count:
        raise ValueError(f"{folder} would be empty: a human drove none of the episodes from start to end")
