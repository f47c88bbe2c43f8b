"""Coarse metrics of a quiet recording with a fault injected at another service, replayed: one true service in all recorded cases proves little."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from api.replay import SECOND
from benchmarks.diagnosis_injection import SCENARIOS, Injection, Rows, inject
from benchmarks.diagnosis_scoring import score, scorer_in
from benchmarks.diagnosis_sets import Replayed, answered, petshop_cases
from ingest.otlp.files import read_recording
from ingest.samples import SERVICE_GRAPH_CALLS
from schema.batches import Batch, Float64, MetricBatch

QUIET_BEFORE_END = 5  # the last rows of a recording are its incident
FAULTS_A_SCENARIO = 12
TRIES = 20  # for each fault that is asked about
ASKED_AFTER = 60  # seconds
KINDS = ("latency", "errors")
DURATION, SUCCESS = "http.server.request.duration", "http.server.request.success_ratio"
Points = tuple[dict[str, tuple[float, float]], dict[str, float], list[tuple[str, str]]]


def injected(incidents: Path, scenario: str, number: int) -> Replayed:
    """The `number`th fault of a scenario, asked right after its last row. Chance comes from scenario and number alone."""
    random = np.random.default_rng([SCENARIOS.index(scenario), number])
    cases = petshop_cases(incidents)
    for _ in range(TRIES):
        batches = _batches(incidents / "petshop" / cases[random.integers(len(cases))])
        rows = rows_of(batches[:-QUIET_BEFORE_END])
        injection = inject(rows, scenario, random)
        if injection is not None:
            return _asked(incidents, scenario, number, batches, rows, injection)
    raise RuntimeError(f"None of {TRIES} faults of scenario {scenario} showed at the entry: is the recording whole?")


def _asked(incidents: Path, scenario: str, number: int, batches: Sequence[MetricBatch], rows: Rows, injection: Injection) -> Replayed:
    at = int(batches[injection.end - 1].time.max()) + ASKED_AFTER * SECOND
    began = time.process_time()
    answer = answered(with_fault(batches, rows, injection), [at])[at]
    taken = time.process_time() - began
    scored = score(scorer_in(incidents), f"{KINDS[injection.kind]} {number}", scenario, rows.names[injection.service], answer.causes, answer.services)
    return Replayed({0: (scored,)}, taken)


def rows_of(batches: Sequence[MetricBatch]) -> Rows:
    """What the batches say, a row each: sums grow, so rows are their differences; of the first nothing is known."""
    points = [_points(batch) for batch in batches]
    names = tuple(sorted({service for durations, _, _ in points for service in durations} | {end for _, _, calls in points for call in calls for end in call}))
    place = {name: index for index, name in enumerate(names)}
    counts, seconds, ratios = (np.full((len(points), len(names)), np.nan) for _ in range(3))
    for row, (durations, successes, _) in enumerate(points):
        for service, (total, count) in durations.items():
            seconds[row, place[service]], counts[row, place[service]] = total, count
        for service, ratio in successes.items():
            if service in place:
                ratios[row, place[service]] = ratio
    requests = _increase(counts)
    # A ratio that never was above 0 is a column nobody measured.
    measured = np.where((np.nan_to_num(ratios) > 0).any(axis=0), ratios, np.nan)
    callees: dict[int, set[int]] = {}
    for _, _, calls in points:
        for client, server in calls:
            if client != server:
                callees.setdefault(place[client], set()).add(place[server])
    return Rows(names, requests, _increase(seconds), requests * (1.0 - measured), {caller: tuple(sorted(each)) for caller, each in callees.items()})


def with_fault(batches: Sequence[MetricBatch], rows: Rows, injection: Injection) -> Iterator[Batch]:
    """The batches up to the end of the fault, with what it adds: to sums for good, to ratios while it lasts."""
    place = {name: index for index, name in enumerate(rows.names)}
    slower = np.zeros(len(rows.names))
    for row, batch in enumerate(batches[: injection.end]):
        if row < injection.first:
            yield batch
            continue
        slower = slower + injection.seconds[row - injection.first]
        with np.errstate(invalid="ignore", divide="ignore"):
            failing = np.nan_to_num(injection.failures[row - injection.first] / rows.requests[row])
        yield _changed(batch, place, slower, failing)


def _changed(batch: MetricBatch, place: dict[str, int], slower: Float64, failing: Float64) -> MetricBatch:
    value = batch.value.copy()
    for point in range(len(batch)):
        service = place.get(batch.resources[batch.resource[point]].get("service.name"))
        metric = batch.strings[batch.metric[point]]
        if service is not None and metric == DURATION:
            value[point] += slower[service]
        elif service is not None and metric == SUCCESS:
            value[point] = max(value[point] - failing[service], 0.0)
    value.setflags(write=False)
    return replace(batch, value=value)


def _points(batch: MetricBatch) -> Points:
    """Of each service the sum and count of durations and the share of successes; the calls, as (client, server)."""
    durations, successes, calls = dict[str, tuple[float, float]](), dict[str, float](), list[tuple[str, str]]()
    for point in range(len(batch)):
        service = batch.resources[batch.resource[point]].get("service.name")
        metric, value = batch.strings[batch.metric[point]], float(batch.value[point])
        if metric == DURATION:
            durations[service] = value, float(batch.count[point])
        elif metric == SUCCESS:
            successes[service] = value
        elif metric == SERVICE_GRAPH_CALLS:
            ends = batch.attribute_sets[batch.attributes[point]]
            calls.append((ends["client"], ends["server"]))
    return durations, successes, calls


def _increase(sums: Float64) -> Float64:
    """Row by row, how much each column grew since it was last known; NaN where it is not known."""
    grown, last = np.full(sums.shape, np.nan), np.full(sums.shape[1], np.nan)
    for row, now in enumerate(sums):
        grown[row] = now - last
        last = np.where(np.isfinite(now), now, last)
    return grown


def _batches(folder: Path) -> list[MetricBatch]:
    return [batch for batch in read_recording(sorted(folder.glob("*.jsonl.gz"))) if isinstance(batch, MetricBatch)]
