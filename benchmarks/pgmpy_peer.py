"""The same network solved by pgmpy's variable elimination."""

from __future__ import annotations

import importlib.util
import itertools
import time

import numpy as np

from benchmarks.measure import Solved
from reasoning.network import CausalNetwork
from schema.batches import Float64


def pgmpy_is_installed() -> bool:
    """Whether there is anything to compare with."""
    return importlib.util.find_spec("pgmpy") is not None


def solve_by_pgmpy(network: CausalNetwork, log_evidence: Float64) -> Solved:
    """The posteriors of all defects, a query each."""
    from pgmpy.factors.discrete import TabularCPD  # noqa: PLC0415 - its import takes seconds
    from pgmpy.inference import VariableElimination  # noqa: PLC0415
    from pgmpy.models import DiscreteBayesianNetwork  # noqa: PLC0415

    model = DiscreteBayesianNetwork()
    model.add_nodes_from([str(x) for x in range(len(network))])
    model.add_edges_from([(str(cause), str(effect)) for cause, effect in zip(network.parent.tolist(), network.effect.tolist(), strict=True)])
    for x in range(len(network)):
        parents = network.parents(x).tolist()
        silence = [
            (1.0 - network.leak[x]) * float(np.prod(1.0 - network.strengths(x) * np.array(values))) for values in itertools.product((0, 1), repeat=len(parents))
        ]
        model.add_cpds(TabularCPD(str(x), 2, [silence, [1.0 - each for each in silence]], [str(u) for u in parents] or None, [2] * len(parents) or None))
    seen = [
        TabularCPD(str(x), 2, [[1.0 / (1.0 + np.exp(log_evidence[x]))], [1.0 / (1.0 + np.exp(-log_evidence[x]))]])
        for x in np.flatnonzero(log_evidence).tolist()
    ]
    start = time.process_time()
    inference = VariableElimination(model)
    defects = np.flatnonzero(network.is_defect).tolist()
    probability = [inference.query([str(defect)], virtual_evidence=seen, show_progress=False).values[1] for defect in defects]
    return Solved(time.process_time() - start, np.array(probability))
