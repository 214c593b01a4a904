# SPDX-License-Identifier: Apache-2.0
"""Which weights decide: the newest that were accepted, or those that a person pinned."""

from __future__ import annotations

import threading

from vla_policy.core.steering.protocol import Learned, Ready, Trial
from vla_policy.core.steering.weights import PolicyManifest, WeightsError, unpack

KEEP = 4


class Shelf:
    """Verifies sets for a method and keeps the last few, so that a person can go back to one at once.

    Args:
        method: Its actor half.
        name: Its name.
        run: Training run that is followed; empty means that of the first set accepted.
        key: That sets must be signed with; empty takes unsigned ones.
    """

    def __init__(self, method: Learned, name: str, run: str = "", key: bytes = b"") -> None:
        self._method, self._name, self._key = method, name, key
        self.run, self.pinned = run, 0
        self._kept: list[Ready] = []
        self._lock = threading.RLock()

    @property
    def version(self) -> int:
        """That decides, 0 for none."""
        return self._method.version

    @property
    def newest(self) -> int:
        """That was accepted, 0 for none."""
        return self._kept[-1].manifest.version if self._kept else 0

    @property
    def versions(self) -> list[int]:
        """That can be pinned."""
        return [ready.manifest.version for ready in self._kept]

    def holds(self, manifest: PolicyManifest) -> bool:
        """Whether exactly that set was accepted before and is still here."""
        return any(ready.manifest.sha256 == manifest.sha256 and ready.manifest.version == manifest.version
                   and ready.manifest.run == manifest.run for ready in self._kept)  # fmt: skip

    def check(self, manifest: PolicyManifest, data: bytes, trial: Trial) -> Ready:
        """Verifies a whole set; slow, changes nothing.

        Raises:
            WeightsError: With the first thing that is wrong.
        """
        weights = unpack(
            manifest, data, method=self._name, contract_hash=trial.contract.hash(), run=self.run or None,
            newer_than=self.newest, key=self._key,
        )  # fmt: skip
        if self._kept and self._kept[-1].manifest.architecture_hash != manifest.architecture_hash:
            raise WeightsError("architecture", f"another architecture within run {manifest.run!r}")
        return self._method.prepare(weights, trial)

    def take(self, ready: Ready) -> None:
        """Keeps a verified set, and lets it decide unless another is pinned.

        Raises:
            WeightsError: A newer one was taken meanwhile.
        """
        with self._lock:
            if ready.manifest.version <= self.newest:
                raise WeightsError("old", f"version {ready.manifest.version} is not newer than {self.newest}")
            self.run = ready.manifest.run
            drop = next((r for r in self._kept if r.manifest.version != self.pinned), None)
            if drop is not None and len(self._kept) >= KEEP:
                self._kept.remove(drop)
            self._kept.append(ready)
            if not self.pinned:
                self._method.install(ready)

    def pin(self, version: int) -> None:
        """Goes back to a version that is kept, or follows the newest again with 0.

        Raises:
            ValueError: It is not kept.
        """
        with self._lock:
            wanted = version or self.newest
            found = [ready for ready in self._kept if ready.manifest.version == wanted]
            if version and not found:
                raise ValueError(f"version {version} is not here, versions that are: {self.versions}")
            self.pinned = version
            if found:
                self._method.install(found[0])

    def words(self) -> str:
        """What decides, for a person."""
        if not self.version:
            return f"{self._name}: no weights yet, plays the base"
        held = f", pinned while {self.newest} is the newest" if self.pinned else ""
        return f"{self._name}: version {self.version} of run {self.run!r}{held}"
