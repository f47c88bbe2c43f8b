"""Compiles the machine code of the reasoning once, so that no incident waits for it: `python -m reasoning.prepare`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np

from reasoning.belief_propagation import propagate
from reasoning.cycles import feedback_links
from reasoning.inference import posteriors
from reasoning.network import CausalNetwork, network_of, strongest_paths
from schema.batches import Float64


def prepare(tell: Callable[[str], None]) -> None:
    """Runs every compiled function once; `tell` hears what comes next. From an empty cache seconds, else a fraction of one."""
    for step, run in _steps():
        tell(step)
        run()


def _steps() -> Iterator[tuple[str, Callable[[], object]]]:
    network, evidence = _small_estate()
    ring = np.array([0, 1], np.int32)
    yield "the causal network", lambda: (feedback_links(2, ring, ring[::-1].copy(), np.array([0.5, 0.4])), strongest_paths(network, 0))
    yield "belief propagation", lambda: propagate(network, evidence, np.ones(len(network), np.bool_))
    yield "exact elimination", lambda: posteriors(network, evidence)


def _small_estate() -> tuple[CausalNetwork, Float64]:
    """Three causes of one effect, which causes another: large and small families, evidence for and against."""
    cause, effect = np.array([0, 1, 2, 3], np.int32), np.array([3, 3, 3, 4], np.int32)
    cluster, is_defect = np.arange(5, dtype=np.int32), np.array([True, True, True, False, False])
    network = network_of(np.full(5, 0.01), cause, effect, np.full(4, 0.5), cluster, is_defect)
    return network, np.array([0.0, 0.0, 0.0, 2.0, -1.0])


if __name__ == "__main__":
    prepare(lambda step: print(f"Preparing {step}.", file=sys.stderr))  # noqa: T201 - a command of its own
