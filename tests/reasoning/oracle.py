"""Our networks as pgmpy sees them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from pgmpy.factors.discrete import TabularCPD
from pgmpy.models import DiscreteBayesianNetwork

from schema.batches import Float64


def pgmpy_network(variables: int, leak: Float64, links: Sequence[tuple[int, int, float]]) -> DiscreteBayesianNetwork:
    """Every family written out as a full table."""
    model = DiscreteBayesianNetwork()
    model.add_nodes_from([str(variable) for variable in range(variables)])
    model.add_edges_from([(str(cause), str(effect)) for cause, effect, _ in links])
    for variable in range(variables):
        own = [(cause, strength) for cause, effect, strength in links if effect == variable]
        silence = [
            (1.0 - leak[variable]) * float(np.prod([1.0 - strength for (_, strength), value in zip(own, values, strict=True) if value]))
            for values in itertools.product((0, 1), repeat=len(own))
        ]
        table = [silence, [1.0 - each for each in silence]]
        model.add_cpds(TabularCPD(str(variable), 2, table, [str(cause) for cause, _ in own] or None, [2] * len(own) or None))
    return model
