# SPDX-License-Identifier: Apache-2.0
"""What the policy could have done: the candidate chunks of a decision as paths of the TCP, with the critic's scores.

Legend: n candidates, H steps, A action dims, J joints of the arm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operator_console.core.decision_value import EDITED, value_of_chosen
from whetstone_common.core.contract import Contract
from whetstone_common.core.kinematics import Pose

Array = npt.NDArray[np.float64]
Forward = Callable[[npt.ArrayLike], Pose]
KINDS = ("as the VLA made it", "edited", "from chosen noise", "of the method's own actor")


class CandidatesError(ValueError):
    """A decision that cannot be drawn; the text says why."""


@dataclass(frozen=True)
class CandidatePath:
    """One chunk.

    Attributes:
        number: Of the candidate, from 0.
        points: (H, 3) where it takes the TCP, base frame (m).
        score: That the critic gave to it as the VLA made it, None without a critic.
        edited_score: That it gave to the edited one, None when there was none.
    """

    number: int
    points: Array
    score: float | None = None
    edited_score: float | None = None


@dataclass(frozen=True)
class DecisionView:
    """A decision as a person looks at it.

    Attributes:
        candidates: Chunks of the VLA.
        chosen: Number of the candidate that was chosen, -1 for none of them.
        chosen_points: (H, 3) where the chunk that was sent takes the TCP, base frame (m).
        kind: What the sent chunk is, in words.
        value: That the critic gave to it, None without a critic.
        tcp: Measured at the observation, base frame.
        method: Who chose.
        instruction: That was followed.
        policy_version: Of the small policies, 0 for none.
    """

    candidates: tuple[CandidatePath, ...]
    chosen: int
    chosen_points: Array
    kind: str
    value: float | None
    tcp: Pose
    method: str = ""
    instruction: str = ""
    policy_version: int = 0

    @property
    def scores(self) -> tuple[float, ...]:
        """All scores of the critic."""
        given = [score for each in self.candidates for score in (each.score, each.edited_score)]
        return tuple(score for score in given if score is not None)


@dataclass(frozen=True, eq=False)
class DecisionArrays:
    """Fields of a vla_interfaces/Decision.

    Attributes:
        contract_hash: Of the policy that made it.
        candidates: (n, H, A) normalised.
        sent: (H, A) normalised, what was sent to the arm.
        reference: (7,) x y z (m) qx qy qz qw, or (J,) rad: what the chunks are relative to.
        scores: Of the candidates, then of the edited ones.
        chosen: Number of the chosen candidate.
        kind: Where the sent chunk came from.
    """

    contract_hash: str
    candidates: Array
    sent: Array
    reference: Array
    scores: Sequence[float]
    chosen: int
    kind: int


def view_of(decision: DecisionArrays, contract: Contract, forward: Forward | None) -> DecisionView:
    """Look at a decision.

    Args:
        decision: Its fields.
        contract: Of the policy.
        forward: Pose of the TCP at joint positions (J,) rad; needed in joint space alone.

    Raises:
        CandidatesError: It is of another policy, or in joint space without kinematics.
    """
    if decision.contract_hash != contract.hash():
        raise CandidatesError("the decision is of another policy than the contract")
    if contract.action_space == "joint" and forward is None:
        raise CandidatesError("chunks in joint space need the robot's kinematics, and there are none")
    base, edited = _scores(decision)
    candidates = tuple(
        CandidatePath(number, _path(chunk, decision.reference, contract, forward), base.get(number), edited.get(number))
        for number, chunk in enumerate(decision.candidates)
    )
    return DecisionView(
        candidates=candidates,
        chosen=decision.chosen,
        chosen_points=_path(decision.sent, decision.reference, contract, forward),
        kind=KINDS[decision.kind] if 0 <= decision.kind < len(KINDS) else "of an unknown kind",
        value=value_of_chosen(decision.scores, decision.kind, decision.chosen),
        tcp=_tcp(decision.reference, contract, forward),
    )


def _scores(decision: DecisionArrays) -> tuple[dict[int, float], dict[int, float]]:
    """Scores by candidate, as the VLA made them and edited; a method may score the first few alone."""
    given, count = [float(score) for score in decision.scores], len(decision.candidates)
    half = len(given) // 2 if decision.kind == EDITED else min(count, len(given))
    return dict(enumerate(given[:half])), dict(enumerate(given[half:]))


def _path(chunk: Array, reference: Array, contract: Contract, forward: Forward | None) -> Array:
    physical = chunk * np.array(contract.action_scale) + np.array(contract.action_offset)
    if contract.action_space == "cartesian":
        return np.asarray(reference[:3] + physical[:, :3])
    assert forward is not None  # noqa: S101 - checked before
    return np.array([forward(reference + step[: len(reference)]).position for step in physical])


def _tcp(reference: Array, contract: Contract, forward: Forward | None) -> Pose:
    if contract.action_space == "cartesian":
        return Pose.from_quaternion_xyzw(reference[:3], reference[3:7])
    assert forward is not None  # noqa: S101 - checked before
    return forward(reference)
