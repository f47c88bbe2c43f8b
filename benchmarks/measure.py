"""How every benchmark measures: CPU time of this process, after a warm-up, the median of several runs."""

from __future__ import annotations

import gc
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from schema.batches import Float64

Figures = dict[str, float | int | str | list[str]]


@dataclass(frozen=True, slots=True)
class Solved:
    """What another engine took in CPU seconds, and found: P(defect | evidence) of all defects in ascending order, Float64[d]."""

    seconds: float
    probability: Float64


def cpu_seconds(work: Callable[[], object], *, runs: int = 5, warm_up: int = 1) -> float:
    """Median process CPU seconds of `work` over `runs`, after `warm_up` runs that don't count."""
    for _ in range(warm_up):
        work()
    taken = []
    for _ in range(runs):
        gc.collect()
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def peak_rss_mb() -> float:
    """The largest resident set of this process so far, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def progress(what: str) -> None:
    """Says on stderr what is measured next, and the CPU seconds spent so far."""
    print(f"{time.process_time():7.1f} s  {what}", file=sys.stderr, flush=True)


def load_average() -> float:
    """How many processes wanted a core over the last minute: figures from a busy machine are worse."""
    return round(os.getloadavg()[0], 1)
