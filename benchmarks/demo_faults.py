"""How often the demo's verdict is right: every fault of `whence demo --list-faults` over seeds 1 to 3, each a real run by the real doors."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.measure import Figures

SEEDS = (1, 2, 3)
RUN_LIMIT_SECONDS = 600
AT_ONCE = 2


def run() -> Figures:
    """top1, top3: share of runs with the true entity and defect first, or within the first three; seconds are event time from the injection.

    false_incidents: those opened before anything was broken.
    """
    faults = _faults()
    runs = [(fault, seed) for fault in faults for seed in SEEDS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = list(pool.map(lambda one: _verdict(*one), runs))
    ranks = [_rank(verdict) for verdict in verdicts]
    always_right = [fault for fault in faults if all(rank == 1 for (name, _), rank in zip(runs, ranks, strict=True) if name == fault)]
    seconds = [verdict["seconds_to_verdict"] for verdict, rank in zip(verdicts, ranks, strict=True) if rank == 1]
    return {
        "top1": round(sum(rank == 1 for rank in ranks) / len(runs), 3),
        "top3": round(sum(rank <= 3 for rank in ranks) / len(runs), 3),
        "faults": len(faults),
        "runs": len(runs),
        "faults_always_right": len(always_right),
        "median_seconds_to_verdict": statistics.median(seconds) if seconds else -1.0,
        "false_incidents": sum(len(verdict.get("false_incidents", ())) for verdict in verdicts),
        "misses": [_describe(name, seed, verdict, rank) for (name, seed), verdict, rank in zip(runs, verdicts, ranks, strict=True) if rank != 1],
    }


def _faults() -> list[str]:
    listed = subprocess.run([sys.executable, "-m", "demo", "--list-faults"], capture_output=True, text=True, check=True)
    return [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]


def _verdict(fault: str, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "demo", "--once", "--json", "--fault", fault, "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_LIMIT_SECONDS, check=False)
    if done.returncode not in (0, 1):
        return {"fault": {"entities": [], "defect": ""}, "root_causes": [], "error": done.stderr.strip()[-300:]}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _rank(verdict: dict[str, Any]) -> int:
    truth = verdict["fault"]
    for rank, cause in enumerate(verdict["root_causes"], start=1):
        if cause["entity"] in truth["entities"] and cause["defect"] == truth["defect"]:
            return rank
    return len(verdict["root_causes"]) + 10


def _describe(fault: str, seed: int, verdict: dict[str, Any], rank: int) -> str:
    if "error" in verdict:
        return f"{fault} seed {seed}: {verdict['error']}"
    first = verdict["root_causes"][:1]
    got = f"{first[0]['entity']} {first[0]['defect']} {first[0]['probability']:.2f}" if first else "nothing"
    return f"{fault} seed {seed}: rank {rank}, first {got}"
