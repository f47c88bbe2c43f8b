"""A causal network: binary variables joined by leaky noisy-OR links (Pearl 1988, ch. 4). A solver needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasoning.errors import InvalidNetworkError

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CausalNetwork:
    """n variables. `leak`: Float64[n], P(fires | no parent fired); of a root, its prior. Parents in CSR form:

    `parent_ptr`: Int64[n + 1], `parent`: Int64[m] with parent < child (variables stand in causal order), `strength`: Float64[m].
    """

    leak: Float64
    parent_ptr: Int64
    parent: Int64
    strength: Float64

    def __len__(self) -> int:
        return len(self.leak)

    def parents(self, variable: int) -> Int64:
        """The parents of a variable."""
        return self.parent[self.parent_ptr[variable] : self.parent_ptr[variable + 1]]

    def strengths(self, variable: int) -> Float64:
        """The strengths of the links from `parents(variable)`."""
        return self.strength[self.parent_ptr[variable] : self.parent_ptr[variable + 1]]


def causal_network(leak: Float64, links: list[tuple[int, int, float]]) -> CausalNetwork:
    """A network from (parent, child, strength) links. Raises InvalidNetworkError."""
    if not np.all((leak >= 0.0) & (leak <= 1.0)):
        raise InvalidNetworkError("A leak or prior is not a probability between 0 and 1.")
    if any(not 0.0 <= strength <= 1.0 for _, _, strength in links):
        raise InvalidNetworkError("A link's strength is not a probability between 0 and 1.")
    if any(parent >= child for parent, child, _ in links):
        raise InvalidNetworkError("A link runs against the causal order: the links form a cycle.")
    ordered = sorted((child, parent, strength) for parent, child, strength in links if strength > 0.0)
    children = np.array([child for child, _, _ in ordered], dtype=np.int64)
    network = CausalNetwork(
        leak=leak.astype(np.float64),
        parent_ptr=np.searchsorted(children, np.arange(len(leak) + 1)).astype(np.int64),
        parent=np.array([parent for _, parent, _ in ordered], dtype=np.int64),
        strength=np.array([strength for _, _, strength in ordered], dtype=np.float64),
    )
    for array in (network.leak, network.parent_ptr, network.parent, network.strength):
        array.setflags(write=False)
    return network
