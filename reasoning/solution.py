"""What every solution is made of: posteriors, the regions they were solved in, and what evidence may be."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from reasoning.errors import InvalidEvidenceError
from reasoning.native import compiled
from reasoning.regions import Partition
from schema.batches import Float64, Int32, Int64


@dataclass(frozen=True, slots=True)
class Posteriors:
    """`probability`: Float64[n], P(holds | evidence). `exact`: no link was cut to get it. `parts`: what was solved together."""

    probability: Float64
    exact: bool
    parts: Partition = field(repr=False, compare=False)


@compiled
def probabilities(log_odds: Float64) -> Float64:
    """P(1) of log P(1) / P(0), element by element."""
    return 1.0 / (1.0 + np.exp(-np.minimum(np.maximum(log_odds, -700.0), 700.0)))


def check_evidence(log_evidence: Float64, variables: int) -> None:
    """Raises InvalidEvidenceError where it is not as many numbers as there are variables."""
    if log_evidence.size != variables:
        raise InvalidEvidenceError(f"A network of {variables} variables needs as many values of evidence, not {log_evidence.size}.")
    if np.isnan(log_evidence).any():
        wrong = np.flatnonzero(np.isnan(log_evidence))
        raise InvalidEvidenceError(f"The evidence on variable {wrong[0]} is not a number: give 0 where nothing is known.", wrong.tolist())


@compiled
def fill_forward(order: Int64, parent_ptr: Int64, parent: Int32, strength: Float64, leak: Float64, found: Float64) -> None:
    """Gives variables that are NaN in `found` the probability that follows from their causes', taken as independent."""
    for variable in order:
        if np.isnan(found[variable]):
            silence = 1.0 - leak[variable]
            for link in range(parent_ptr[variable], parent_ptr[variable + 1]):
                silence *= 1.0 - strength[link] * found[parent[link]]
            found[variable] = 1.0 - silence
