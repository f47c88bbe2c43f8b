"""How good the verdicts are: recorded incidents, faults injected into recordings and into the demo's estate, and quiet hours, by the product's own pipeline.

The parts are independent and run two at a time; `--only PART` chooses. What each key means stands in docs/diagnosis-quality.md.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import diagnosis_demo, diagnosis_petshop, diagnosis_sets
from benchmarks.diagnosis_ablation import ABLATIONS
from benchmarks.diagnosis_demo import FaultRun, PairRun, QuietRun
from benchmarks.diagnosis_injection import SCENARIOS
from benchmarks.diagnosis_scoring import Scored, ScorerMissingError, calibration_error, mean, said_of_first, said_of_services, scorer_in, top
from benchmarks.diagnosis_sets import LEADS, Replayed
from benchmarks.measure import Figures

AT_ONCE = 2
SEEDS = 15  # over the demo's fourteen faults 210 runs
QUIET = ((101, 1_767_592_800, 3.0), (102, 1_767_614_400, 3.0))  # seed, start (06:00 and 12:00 UTC), hours
RECORDED = ("trainticket", "petshop", "petshop_injected", "ablations")
SIMULATED = ("demo_faults", "two_faults", "demo_quiet")
PARTS = (*RECORDED, *SIMULATED)
BESIDE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "incidents"
DAY = 24.0


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of a part that one process does."""

    part: str
    name: str
    work: Callable[[], Any]


class UnknownPartError(Exception):
    """There is no such part; the message lists them."""


def run(only: Sequence[str] = (), incidents: Path = BESIDE_CHECKOUT, seeds: int = SEEDS) -> Figures:
    """The figures of the chosen parts, all by default; the demo's faults over `seeds` seeds. Raises UnknownPartError; ScorerMissingError where a recorded part was chosen and is not there."""
    if unknown := [part for part in only if part not in PARTS]:
        raise UnknownPartError(f"The diagnosis benchmark has no part {unknown[0]!r}: choose from {', '.join(PARTS)}.")
    parts = list(only) or list(PARTS)
    if set(parts) & set(RECORDED):
        try:
            scorer_in(incidents)
        except ScorerMissingError as missing:
            if only:
                raise
            print(f"{missing} The demo parts run now.", file=sys.stderr, flush=True)
            parts = list(SIMULATED)
    return figures_of(_done(tasks_of(parts, incidents, seeds)))


def tasks_of(parts: Sequence[str], incidents: Path, seeds: int) -> list[Task]:
    """What is to be done for the parts."""
    tasks = []
    if "demo_quiet" in parts:
        tasks += [Task("demo_quiet", f"seed {quiet[0]}", partial(diagnosis_demo.quiet_hours, *quiet)) for quiet in QUIET]
    if "trainticket" in parts:
        tasks.append(Task("trainticket", "whole", partial(diagnosis_sets.trainticket, incidents)))
    if "petshop" in parts:
        tasks += [Task("petshop", case, partial(diagnosis_sets.petshop, incidents, case)) for case in diagnosis_sets.petshop_cases(incidents)]
    if "petshop_injected" in parts:
        faults = [(scenario, number) for scenario in SCENARIOS for number in range(diagnosis_petshop.FAULTS_A_SCENARIO)]
        tasks += [
            Task("petshop_injected", f"{scenario} {number}", partial(diagnosis_petshop.injected, incidents, scenario, number)) for scenario, number in faults
        ]
    if {"demo_faults", "two_faults"} & set(parts):
        runs = partial(diagnosis_demo.demo_runs, faults="demo_faults" in parts, pairs="two_faults" in parts)
        tasks += [Task("demo_faults", f"seed {seed}", partial(runs, seed)) for seed in range(1, seeds + 1)]
    if "ablations" in parts:
        tasks += [Task(f"{ablation}_trainticket", "whole", partial(diagnosis_sets.trainticket, incidents, LEADS[-1:], ablation)) for ablation in ABLATIONS]
        cases = diagnosis_sets.petshop_cases(incidents)
        tasks += [Task("no_topology_petshop", case, partial(diagnosis_sets.petshop, incidents, case, "no_topology")) for case in cases]
    return tasks


def figures_of(results: Mapping[str, Sequence[Any]]) -> Figures:
    """The figures of all results, by part."""
    figures: Figures = {}
    for part, found in results.items():
        if part == "demo_faults":
            figures |= _of_faults([run for runs in found for run in runs.faults]) | _of_pairs([run for runs in found for run in runs.pairs])
        elif part == "demo_quiet":
            figures |= _of_quiet(found)
        else:
            figures |= _of_recorded(part, found)
    if results.keys() >= {"trainticket", "petshop", "petshop_injected"}:
        scored = [each for part in ("trainticket", "petshop", "petshop_injected") for each in _latest(results[part])]
        figures |= {"ece_all": calibration_error(said_of_services(scored)), "ece_first_place_recorded": calibration_error(said_of_first(scored))}
    return figures


def _done(tasks: Sequence[Task]) -> dict[str, list[Any]]:
    """The results of all tasks by part, in the order of the tasks."""
    began = time.monotonic()
    with ProcessPoolExecutor(AT_ONCE) as pool:
        running: dict[Future[Any], Task] = {pool.submit(task.work): task for task in tasks}
        for done, future in enumerate(as_completed(running), start=1):
            task = running[future]
            future.result()
            print(f"{time.monotonic() - began:7.1f} s  {done}/{len(tasks)}  {task.part} {task.name}", file=sys.stderr, flush=True)
    results: dict[str, list[Any]] = {}
    for future, task in running.items():
        results.setdefault(task.part, []).append(future.result())
    return results


def _of_recorded(part: str, replays: Sequence[Replayed]) -> Figures:
    scored = _latest(replays)
    groups = sorted({each.group for each in scored})
    figures: Figures = {f"{part}_top1": top(scored, 1), f"{part}_top3": top(scored, 3), f"{part}_n": len(scored)}
    figures |= {f"{part}_{group}_top1": top([each for each in scored if each.group == group], 1) for group in groups if len(groups) > 1}
    if part == "trainticket":
        earlier = [each for replay in replays for each in replay.scored[LEADS[0]]]
        figures |= {"trainticket_top1_at_2_minutes": top(earlier, 1), "replay_trainticket_cpu_seconds": round(sum(each.cpu_seconds for each in replays), 1)}
    return figures | {f"{part}_misses": [_miss(each) for each in scored if each.hits[1] < 1]}


def _latest(replays: Sequence[Replayed]) -> list[Scored]:
    """What was asked last about each event."""
    return [each for replay in replays for each in replay.scored[max(replay.scored)]]


def _miss(scored: Scored) -> str:
    first = max(scored.probability, key=lambda service: scored.probability[service])
    own = scored.probability.get(scored.truth, 0.0)
    return f"{scored.name} {scored.group}: rank {scored.rank}, {scored.truth} {own:.2f}, first {first} {scored.probability[first]:.2f}"


def _of_faults(runs: Sequence[FaultRun]) -> Figures:
    if not runs:
        return {}
    right = [run for run in runs if run.rank == 1]
    per_fault = sorted({run.fault for run in runs}, key=[run.fault for run in runs].index)
    return {
        "demo_faults_top1": mean([run.place_rank == 1 for run in runs]),
        "demo_faults_top3": mean([1 <= run.place_rank <= 3 for run in runs]),
        "localisation": mean([run.rank == 1 for run in runs]),
        "localisation_top3": mean([1 <= run.rank <= 3 for run in runs]),
        "demo_faults_runs": len(runs),
        "median_seconds_to_verdict": statistics.median(run.seconds for run in right) if right else -1.0,
        "demo_faults_false_incidents": sum(run.false for run in {run.seed: run for run in runs}.values()),
        "ece_first_place": calibration_error((run.said, run.rank == 1) for run in runs),
        "demo_faults_per_fault": [_line_of(fault, [run for run in runs if run.fault == fault]) for fault in per_fault],
        "demo_faults_misses": [f"{run.fault} seed {run.seed}: rank {run.rank}, first {run.first} after {run.seconds:g} s" for run in runs if run.rank != 1],
    }


def _line_of(fault: str, runs: Sequence[FaultRun]) -> str:
    seconds = statistics.median(run.seconds for run in runs)
    said = mean([run.said for run in runs])
    return f"{fault}: {sum(run.rank == 1 for run in runs)} of {len(runs)}, place {sum(run.place_rank == 1 for run in runs)}, {seconds:g} s, says {said:.2f}"


def _of_pairs(runs: Sequence[PairRun]) -> Figures:
    if not runs:
        return {}
    return {
        "two_faults_top2": mean([all(1 <= rank <= 2 for rank in run.ranks) for run in runs]),
        "two_faults_one_of_top2": mean([any(1 <= rank <= 2 for rank in run.ranks) for run in runs]),
        "two_faults_runs": len(runs),
        "two_faults_misses": [
            f"{' + '.join(run.faults)} seed {run.seed}: ranks {run.ranks[0]}, {run.ranks[1]}, first {run.first}"
            for run in runs
            if max(run.ranks) > 2 or 0 in run.ranks
        ],
    }


def _of_quiet(runs: Sequence[QuietRun]) -> Figures:
    hours = sum(run.hours for run in runs)
    return {
        "demo_quiet_false_verdicts_per_day": round(sum(len(run.episodes) for run in runs) / hours * DAY, 1),
        "demo_quiet_false_incidents_per_day": round(sum(run.incidents for run in runs) / hours * DAY, 1),
        "demo_quiet_hours": hours,
        "demo_quiet_episodes": [f"seed {run.seed}: {episode}" for run in runs for episode in run.episodes],
    }
