"""The same networks solved by pyAgrum's exact inference, each in a process of its own with bounded memory and time.

A noisy-OR becomes a chain of noisy-ORs of two causes each: the same distribution, and the form in which pyAgrum is quickest. Full
tables, and pyAgrum's own noisy-OR gates, took it two to twenty times as long.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Solved
from reasoning.network import CausalNetwork
from schema.batches import Float64

MOST_BYTES, MOST_SECONDS = 4 << 30, 60
QUICK = 1.0  # seconds; what takes less is measured as the median of several runs
RUNS = 5


def pyagrum_is_installed() -> bool:
    """Whether there is anything to compare with."""
    return importlib.util.find_spec("pyagrum") is not None


def solve_by_pyagrum(network: CausalNetwork, log_evidence: Float64) -> Solved | None:
    """All defects' posteriors; None where 4 GB or 60 seconds are not enough."""
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder) / "problem.npz"
        np.savez(
            problem,
            order=network.order,
            parent_ptr=network.parent_ptr,
            parent=network.parent,
            strength=network.strength,
            leak=network.leak,
            log_evidence=log_evidence,
            defects=np.flatnonzero(network.is_defect),
        )
        one_core = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        child = [sys.executable, "-m", "benchmarks.pyagrum_peer", str(problem)]
        found = subprocess.run(child, env={**os.environ, **one_core}, capture_output=True, text=True, check=False)
    if found.returncode:
        return None
    answer = json.loads(found.stdout)
    return Solved(answer["seconds"], np.array(answer["probability"]))


def _solve(problem: Path) -> dict[str, object]:
    gum = importlib.import_module("pyagrum")
    gum.setNumberOfThreads(1)
    net = gum.BayesNet()
    node: dict[int, int] = {}
    with np.load(problem) as arrays:
        ends, parent, strength, leak = (arrays[name].tolist() for name in ("parent_ptr", "parent", "strength", "leak"))
        for x in arrays["order"].tolist():
            node[x] = _noisy_or(gum, net, leak[x], [(node[parent[link]], strength[link]) for link in range(ends[x], ends[x + 1])])
        seen = [(node[x], [1.0 / (1.0 + np.exp(ratio)), 1.0 / (1.0 + np.exp(-ratio))]) for x, ratio in enumerate(arrays["log_evidence"].tolist()) if ratio]
        defects = [node[x] for x in arrays["defects"].tolist()]
    taken: list[float] = []
    probability: list[float] = []
    while not taken or (taken[0] < QUICK and len(taken) < RUNS):
        inference = gum.LazyPropagation(net)
        for x, likelihood in seen:
            inference.addEvidence(x, likelihood)
        for x in defects:
            inference.addTarget(x)
        start = time.process_time()
        inference.makeInference()
        probability = [float(inference.posterior(x)[1]) for x in defects]
        taken.append(time.process_time() - start)
    return {"seconds": statistics.median(taken), "probability": probability}


def _noisy_or(gum: Any, net: Any, leak: float, causes: Sequence[tuple[int, float]]) -> int:
    """Adds a variable that holds by its leak or by one of its causes, two of them at a time."""
    waiting = list(causes)
    while len(waiting) > 2:
        waiting = [(_table(gum, net, 0.0, waiting[:2]), 1.0), *waiting[2:]]
    return _table(gum, net, leak, waiting)


def _table(gum: Any, net: Any, leak: float, causes: Sequence[tuple[int, float]]) -> int:
    variable = net.add(gum.RangeVariable(f"v{net.size()}", "", 0, 1))
    silence = np.full((1,), 1.0 - leak)
    for cause, strength in causes:
        net.addArc(cause, variable)
        # pyAgrum's axes stand in the reverse order of the causes.
        silence = np.outer([1.0, 1.0 - strength], silence).reshape(-1)
    shape = (2,) * len(causes)
    net.cpt(variable)[:] = np.stack((silence.reshape(shape), 1.0 - silence.reshape(shape)), axis=-1)
    return int(variable)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS + 1))
    sys.stdout.write(json.dumps(_solve(Path(sys.argv[1]))))
