"""How every benchmark measures: CPU time of this process, after a warm-up, the median of several runs."""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable

Figures = dict[str, float | int | str | list[str]]


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
