# SPDX-License-Identifier: Apache-2.0
"""Which weights decide: the newest that were accepted, or those that an operator pinned."""

from __future__ import annotations

import threading

from rl_methods.base import LearnedPolicy, LoadedPolicy, ValidationContext
from rl_methods.common.weights import PolicyManifest, WeightsError, unpack
from rl_methods.registry import entry

KEEP = 4


class WeightStore:
    """Verifies sets for a method and keeps the last few, so that an operator can go back to one at once.

    Args:
        method: Its actor half.
        name: Its name.
        run: Training run that is followed; empty means that of the first set accepted.
        key: That sets must be signed with; empty takes unsigned ones.
    """

    def __init__(self, method: LearnedPolicy, name: str, run: str = "", key: bytes = b"") -> None:
        self._method, self._name, self._key = method, name, key
        self.run, self.pinned = run, 0
        self._kept: list[LoadedPolicy] = []
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
        return [loaded.manifest.version for loaded in self._kept]

    def holds(self, manifest: PolicyManifest) -> bool:
        """Whether exactly that set was accepted before and is still here."""
        return any(loaded.manifest.sha256 == manifest.sha256 and loaded.manifest.version == manifest.version
                   and loaded.manifest.run == manifest.run for loaded in self._kept)  # fmt: skip

    def check(self, manifest: PolicyManifest, data: bytes, context: ValidationContext) -> LoadedPolicy:
        """Verifies a whole set; slow, changes nothing.

        Raises:
            WeightsError: With the first thing that is wrong.
        """
        weights = unpack(
            manifest, data, method=self._name, contract_hash=context.contract.hash(), run=self.run or None,
            newer_than=self.newest, key=self._key,
        )  # fmt: skip
        if self._kept and self._kept[-1].manifest.architecture_hash != manifest.architecture_hash:
            raise WeightsError("architecture", f"another architecture within run {manifest.run!r}")
        return self._method.prepare(weights, context)

    def take(self, loaded: LoadedPolicy) -> None:
        """Keeps a verified set, and lets it decide unless another is pinned.

        Raises:
            WeightsError: A newer one was taken meanwhile.
        """
        with self._lock:
            if loaded.manifest.version <= self.newest:
                raise WeightsError("old", f"version {loaded.manifest.version} is not newer than {self.newest}")
            self.run = loaded.manifest.run
            drop = next((r for r in self._kept if r.manifest.version != self.pinned), None)
            if drop is not None and len(self._kept) >= KEEP:
                self._kept.remove(drop)
            self._kept.append(loaded)
            if not self.pinned:
                self._method.install(loaded)

    def pin(self, version: int) -> None:
        """Goes back to a version that is kept, or follows the newest again with 0.

        Raises:
            ValueError: It is not kept.
        """
        with self._lock:
            wanted = version or self.newest
            found = [loaded for loaded in self._kept if loaded.manifest.version == wanted]
            if version and not found:
                raise ValueError(f"version {version} is not here, versions that are: {self.versions}")
            self.pinned = version
            if found:
                self._method.install(found[0])

    def description(self) -> str:
        """Description of the weights that decide, in words."""
        if not self.version:
            alone = entry(self._name).needs_weights
            return f"{self._name}: no weights yet, {'plays nothing' if alone else 'plays the base'}"
        held = f", pinned while {self.newest} is the newest" if self.pinned else ""
        return f"{self._name}: version {self.version} of run {self.run!r}{held}"
