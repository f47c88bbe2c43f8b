"""Windows in, findings out: what an estate's trouble looks like to the detectors."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from graph.live import LiveGraph
from graph.topology import EntityObservation, RelationKey, RelationObservation, TopologyDelta
from ingest.samples import sample_table
from ingest.tables import WindowCounts, behaviour_table, call_table, log_table, request_table
from reasoning.evidence.engine import EvidenceEngine
from reasoning.evidence.rules import EvidenceSettings
from reasoning.evidence.state import EvidenceState
from schema.identity import EntityRef
from schema.loader import load_knowledge
from schema.windows import TelemetryWindow

SECOND, MILLISECOND = 1_000_000_000, 1_000_000
WINDOW = 5 * SECOND
FRONT, BACK, STORE = (EntityRef(kind, "c", "shop", name) for kind, name in (("service", "front"), ("service", "back"), ("database", "store/orders")))
PODS = tuple(EntityRef("pod", "c", "shop", f"back-{i}") for i in (1, 2))
Fill = Callable[[WindowCounts, random.Random], None]


class Estate:
    """front calls back, which runs on two pods and queries store. Window by window, with a little noise from a fixed seed."""

    def __init__(self, settings: EvidenceSettings | None = None) -> None:
        self.graph = LiveGraph()
        self.engine = EvidenceEngine(load_knowledge(), self.graph, settings)
        self.random = random.Random(7)
        self.windows = 0
        self.shuffle = False

    def live(self, windows: int, fill: Fill, seen: Iterable[EntityRef] = PODS) -> EvidenceState:
        for _ in range(windows):
            self.windows += 1
            end = self.windows * WINDOW
            keys = [RelationKey(BACK, "runs_on", pod) for pod in seen]
            relations = tuple(RelationObservation(key, "otlp.metrics", end, 0.99) for key in keys)
            self.graph.apply(TopologyDelta(end, tuple(EntityObservation(pod, "otlp.metrics", end, {}) for pod in seen), relations))
            counts = WindowCounts()
            fill(counts, self.random)
            state = self.engine.observe(self._window(counts, end))
        return state

    def _window(self, counts: WindowCounts, end: int) -> TelemetryWindow:
        intern = self.graph.intern
        requests, calls, samples = request_table(counts, intern), call_table(counts, intern), sample_table(counts, intern)
        if self.shuffle:
            requests, calls, samples = (shuffled(table, self.windows) for table in (requests, calls, samples))
        return TelemetryWindow(end - WINDOW, end, requests, calls, behaviour_table(counts, intern), samples, log_table(counts, intern), ())


def shuffled(table: Any, seed: int) -> Any:
    """The same rows in another order."""
    arrays = {field.name: getattr(table, field.name) for field in fields(table) if isinstance(getattr(table, field.name), np.ndarray)}
    rows = len(next(iter(arrays.values())))
    order = np.random.default_rng(seed).permutation(rows)
    return replace(table, **{name: array[order] for name, array in arrays.items()})


def shop(
    *, own: float = 4.0, query: float = 6.0, wire: float = 1.0, lost: float = 0.0, silent_pod: bool = False, demand: int = 40, failing: float = 0.0
) -> Fill:
    """front waits for back (own milliseconds, then one query). lost: share of calls that never reach back; failing: that back fails by itself."""

    def fill(counts: WindowCounts, chance: random.Random) -> None:
        calls, queries = counts.call_count(FRONT, "calls", BACK), counts.call_count(BACK, "queries", STORE)
        path = EntityRef("network_path", "c", "shop", "front->back")
        wires = counts.call_count(FRONT, "traverses", path)
        for _ in range(demand):
            took = {
                name: round(value * MILLISECOND * chance.lognormvariate(0.0, 0.3))
                for name, value in (("own", own), ("query", query), ("wire", wire), ("front", 3.0))
            }
            reached = chance.random() >= lost
            failed = not reached or chance.random() < failing
            served = took["own"] + took["query"] if reached else 0
            waited = served + took["wire"] if reached else 1_000 * MILLISECOND
            if reached:
                pods = PODS[:1] if silent_pod else PODS
                for ref in (BACK, pods[chance.randrange(len(pods))]):
                    counts.request_count(ref).serve(served, took["own"], failed=failed, own_failed=failed)
                counts.request_count(STORE).serve(took["query"], took["query"], failed=False, own_failed=False)
                queries.calls, queries.carrying = queries.calls + 1, queries.carrying + 1
                queries.durations.append(took["query"])
                calls.answered += 1
                for count in (calls, wires):
                    count.gaps.append(took["wire"])
                calls.target_duration += served
            counts.request_count(FRONT).serve(took["front"] + waited, took["front"], failed=failed, own_failed=False)
            for count in (calls, wires):
                count.calls, count.carrying = count.calls + 1, count.carrying + 1
                count.errors, count.failed_source = count.errors + failed, count.failed_source + failed
                count.durations.append(waited)

    return fill


def speaks(state: EvidenceState, entity: EntityRef, condition: str) -> float:
    """The finding's ratio, 0 where there is none."""
    found = [each for each in state.findings if (each.condition.entity, each.condition.condition) == (entity, condition)]
    return found[0].log_likelihood_ratio if found else 0.0


@pytest.fixture
def estate() -> Estate:
    estate = Estate()
    estate.live(72, shop())
    return estate


def test_a_quiet_estate_has_no_symptom(estate: Estate) -> None:
    state = estate.live(60, shop())
    assert max(finding.log_likelihood_ratio for finding in state.findings) < 1.5


def test_a_slow_query_slows_everyone_but_is_nobodys_own_doing_but_the_databases(estate: Estate) -> None:
    state = estate.live(6, shop(query=60.0))
    assert speaks(state, STORE, "latency_high") > 3.0
    assert speaks(state, BACK, "latency_high") > 3.0
    assert speaks(state, FRONT, "latency_high") > 3.0
    assert speaks(state, BACK, "own_time_high") < 0.0
    assert speaks(state, FRONT, "own_time_high") < 0.0


def test_the_callee_accounts_for_the_callers_excess_and_the_wire_does_not(estate: Estate) -> None:
    live = estate.live(12, shop(query=60.0)).live
    path = EntityRef("network_path", "c", "shop", "front->back")
    assert live[RelationKey(FRONT, "calls", BACK)]["share_of_latency_excess"] > 0.9
    assert live[RelationKey(BACK, "queries", STORE)]["share_of_latency_excess"] > 0.9
    assert live[RelationKey(FRONT, "traverses", path)]["share_of_latency_excess"] < 0.1


def test_a_slow_wire_is_the_paths_and_not_the_callees(estate: Estate) -> None:
    state = estate.live(6, shop(wire=80.0))
    path = EntityRef("network_path", "c", "shop", "front->back")
    assert speaks(state, path, "delay_high") > 4.0
    assert speaks(state, BACK, "latency_high") < 0.0
    assert speaks(state, FRONT, "own_time_high") < 0.0


def test_slow_code_shows_in_own_time_of_the_service_and_its_pods(estate: Estate) -> None:
    state = estate.live(6, shop(own=40.0))
    for entity in (BACK, *PODS):
        assert speaks(state, entity, "own_time_high") > 1.5


def test_calls_that_never_arrive_are_told_from_requests_that_fail(estate: Estate) -> None:
    lost = estate.live(6, shop(lost=0.4))
    assert speaks(lost, BACK, "unanswered_high") > 3.0
    assert speaks(lost, BACK, "own_errors_high") < 0.0
    other = Estate()
    other.live(72, shop())
    failing = other.live(6, shop(failing=0.4))
    assert speaks(failing, BACK, "own_errors_high") > 3.0
    assert speaks(failing, BACK, "unanswered_high") < 0.0


def test_a_pod_that_others_still_report_is_missed_when_its_service_goes_on_without_it(estate: Estate) -> None:
    assert speaks(estate.live(8, shop(silent_pod=True)), PODS[1], "demand_low") > 2.0


def test_a_pod_that_nobody_reports_any_more_is_gone_and_no_symptom(estate: Estate) -> None:
    state = estate.live(20, shop(silent_pod=True), seen=PODS[:1])
    assert speaks(state, PODS[1], "demand_low") < 1.0


def test_three_times_the_requests_are_busier(estate: Estate) -> None:
    state = estate.live(8, shop(demand=130))
    assert speaks(state, FRONT, "demand_high") > 3.0


def test_an_onset_lasts_as_long_as_its_episode(estate: Estate) -> None:
    began = estate.windows * WINDOW
    state = estate.live(60, shop(query=60.0))
    onset = next(each.onset for each in state.findings if (each.condition.entity, each.condition.condition) == (STORE, "latency_high"))
    assert onset is not None
    assert abs(onset - began) <= 20 * SECOND


def test_an_onset_is_dated_back_by_what_the_signal_needs_to_show(estate: Estate) -> None:
    healthy = estate.windows + 10

    def unready(counts: WindowCounts, _: random.Random) -> None:
        counts.samples[PODS[0], "pod_ready"] = [0.0 if estate.windows > healthy else 1.0]

    state = estate.live(20, unready)
    onset = next(each.onset for each in state.findings if (each.condition.entity, each.condition.condition) == (PODS[0], "not_ready"))
    assert onset is not None
    shown, after = healthy * WINDOW, int(load_knowledge().kinds["pod"].conditions["not_ready"].shows_after) * SECOND
    assert after == 20 * SECOND
    assert abs(onset - (shown - after)) <= 2 * WINDOW


def test_the_order_of_rows_leaves_no_trace() -> None:
    states = []
    for shuffle in (False, True):
        estate = Estate()
        estate.shuffle = shuffle
        estate.live(60, shop())
        states.append(estate.live(6, shop(query=40.0)))
    assert states[0].findings == states[1].findings


def test_streams_beyond_the_bound_are_refused_and_counted() -> None:
    estate = Estate(EvidenceSettings(streams=2))
    estate.live(2, shop())
    assert estate.engine.dropped["duration_streams_full"] > 0


def test_streams_of_coarse_metrics_are_counted_with_the_others_of_their_sort() -> None:
    engine = Estate(EvidenceSettings(streams=2)).engine
    for table in (engine._coarse_coins, engine._coarse_durations, engine._demand):
        for entity in range(3):
            table.row((entity, "any"))
    assert engine.dropped == {"demand_streams_full": 1, "duration_streams_full": 1, "error_streams_full": 1}


def alone(counts: WindowCounts, chance: random.Random) -> None:
    """front serves as ever and calls nobody; back is asked by others."""
    for ref in (FRONT, BACK):
        for _ in range(40):
            took = round(3.0 * MILLISECOND * chance.lognormvariate(0.0, 0.3))
            counts.request_count(ref).serve(took, took, failed=False, own_failed=False)


def test_a_relation_is_quiet_when_its_source_goes_on_without_it(estate: Estate) -> None:
    """`estate` has lived for a while with calls from front to back, from back to its store."""
    last = estate.windows * WINDOW
    assert estate.live(6, alone).quiet == {}, "30 s are no time"
    quiet = estate.live(12, alone).quiet
    assert {key: quiet[key] for key in (RelationKey(FRONT, "calls", BACK), RelationKey(BACK, "queries", STORE))} == {
        RelationKey(FRONT, "calls", BACK): last,
        RelationKey(BACK, "queries", STORE): last,
    }
    assert estate.live(1, shop()).quiet == {}


def test_a_relation_whose_source_is_silent_too_may_have_carried_what_nobody_saw(estate: Estate) -> None:
    assert estate.live(18, lambda *_: None).quiet == {}
