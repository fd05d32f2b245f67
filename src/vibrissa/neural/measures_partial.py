"""Partial RSA: what two RDMs share beyond the RDMs of confounds, such as choice or contacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.neural.compare import ranks
from vibrissa.neural.measures import RSA, measures
from vibrissa.neural.rdm import pairs
from vibrissa.neural.rdm_moments import Moments
from vibrissa.neural.session import Session


@measures.register("partial_rsa")
@dataclass(frozen=True, kw_only=True)
class PartialRSA(RSA):
    """RSA with the RDMs of confounds taken out of both sides (partial correlation).

    Attributes:
        rdm: as for ``rsa``.
        comparison: ``pearson`` or ``spearman``.
        scale: as for ``rsa``.
        confounds: ``choice`` (share of trials in which the animal went left), or names of numbers
            that sessions have for each trial, for instance ``contact_count``.
        bound: (confound, pair) their RDMs; filled in for each target.
    """

    comparison: Literal["pearson", "spearman"] = "pearson"  # pyright: ignore
    confounds: tuple[str, ...] = ("choice", "contact_count")
    bound: tuple[tuple[float, ...], ...] = field(default=(), repr=False)

    symmetric: ClassVar[bool] = False
    confounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.comparison not in ("pearson", "spearman"):
            raise refuse_unknown("comparison", self.comparison, ("pearson", "spearman"))
        if not self.confounds:
            raise refuse("confounds", (), "there are none", "name one, or use rsa")

    def bind(self, entries: np.ndarray) -> PartialRSA:
        """The measure with the confounds' RDMs (confound, pair) of a target."""
        from dataclasses import replace

        return replace(self, bound=tuple(tuple(map(float, row)) for row in entries))

    def features(self, moments: Moments) -> np.ndarray:
        entries = self.entries(moments)
        if self.comparison == "spearman":
            entries = ranks(entries)
        projector, left = self._projector(entries.shape[-1])
        rest = entries @ projector
        size = np.linalg.norm(rest, axis=-1, keepdims=True)
        full = np.linalg.norm(
            entries - entries.mean(axis=-1, keepdims=True), axis=-1, keepdims=True
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            good = (size > 1e-9 * full) & (left > 0)  # all explained: nothing is left to compare
            return rest / np.where(good, size, np.nan)

    def _projector(self, n_pairs: int) -> tuple[np.ndarray, int]:
        """Onto what neither a constant nor a confound explains, and its dimension."""
        rows = np.array([c for c in self.bound if len(c) == n_pairs], dtype=np.float64)
        if self.comparison == "spearman" and len(rows):
            rows = ranks(rows)
        design = np.vstack([np.ones((1, n_pairs)), rows.reshape(-1, n_pairs)])
        design = design / np.maximum(np.linalg.norm(design, axis=1, keepdims=True), 1e-300)
        _, values, basis = np.linalg.svd(design, full_matrices=False)
        basis = basis[values > 1e-10]
        return np.eye(n_pairs) - basis.T @ basis, n_pairs - len(basis)


def confound_rdms(
    sessions: Sequence[Session], conditions: Sequence[str], names: Sequence[str]
) -> np.ndarray:
    """RDMs of confounds: absolute differences of their means per condition, averaged over sessions.

    Args:
        sessions: those of the target.
        conditions: in the order of the RDM.
        names: ``choice`` or names of covariates.

    Returns:
        (confound, pair).

    Raises:
        InputError: a session lacks one, or has no number in a condition.
    """
    rows, columns = pairs(len(conditions))
    found = np.zeros((len(names), len(rows)))
    for k, name in enumerate(names):
        for session in sessions:
            if name == "choice":
                known = session.choice != ""
                values = np.where(known, (session.choice == "left").astype(float), np.nan)
            elif name in session.covariates:
                values = np.asarray(session.covariates[name], dtype=np.float64)
            else:
                options = ["choice", *session.covariates]
                raise refuse_unknown(f"session {session.name}: confound", name, options)
            means = np.empty(len(conditions))
            for c, condition in enumerate(conditions):
                inside = values[(session.condition == condition) & np.isfinite(values)]
                if not len(inside):
                    raise InputError(
                        f"session {session.name}: confound {name} is unknown in all trials of "
                        f"{condition}; leave the confound or the session out."
                    )
                means[c] = inside.mean()
            found[k] += np.abs(means[rows] - means[columns]) / len(sessions)
    return found
