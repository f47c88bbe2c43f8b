"""Recordings asked as the labels say, whole and with something taken away."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest

from api.instants import write_instant
from benchmarks.diagnosis_ablation import ABLATIONS, spans_where
from benchmarks.diagnosis_sets import petshop, petshop_cases, trainticket
from ingest.otlp.files import read_recording
from schema.batches import LogBatch, MetricBatch, SpanBatch
from tests.api.recordings import SECOND, START, Line, shop_lines
from tests.benchmarks.synthetic import SCORER, lines
from tests.ingest.telemetry import batch, span

SLOW_FROM = 330


def compressed(path: Path, recorded: list[Line]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(b"".join(orjson.dumps(line) + b"\n" for line in recorded)))
    return path


@pytest.fixture(scope="module")
def incidents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sets, the one recorded in spans with a callee that becomes slow, the other in sums, with a quiet end."""
    folder = tmp_path_factory.mktemp("incidents")
    (folder / "score.py").write_text(SCORER)
    compressed(folder / "trainticket" / "traces.jsonl.gz", shop_lines(420, slow_from=SLOW_FROM, rate=2))
    label = {"injected_at": write_instant(START + SLOW_FROM * SECOND), "service": "cart", "fault": "slow"}
    (folder / "trainticket" / "labels.json").write_bytes(orjson.dumps([label]))
    compressed(folder / "petshop" / "quiet" / "metrics.jsonl.gz", lines(30))
    observed = START // SECOND + 20 * 300
    (folder / "petshop" / "labels.json").write_bytes(orjson.dumps([{"case": "quiet", "observed_at": observed, "service": "ledger", "fault": "none"}]))
    return folder


def test_each_incident_is_asked_about_at_both_leads(incidents: Path) -> None:
    replayed = trainticket(incidents, leads=(5, 60))
    assert set(replayed.scored) == {5, 60}
    assert all(len(scored) == 1 for scored in replayed.scored.values())
    assert {"checkout", "cart"} <= replayed.scored[60][0].probability.keys()
    assert replayed.cpu_seconds > 0


def test_nothing_after_the_question_is_in_its_answer(incidents: Path) -> None:
    early = trainticket(incidents, leads=(-20,)).scored[-20][0]
    late = trainticket(incidents, leads=(60,)).scored[60][0]
    assert max(early.probability.values()) < max(late.probability.values())


def test_a_case_is_asked_ten_minutes_after_its_observation(incidents: Path) -> None:
    assert petshop_cases(incidents) == ["quiet"]
    replayed = petshop(incidents, "quiet")
    assert [scored.name for scored in replayed.scored[600]] == ["quiet"]
    assert {"entry", "basket", "ledger"} <= replayed.scored[600][0].probability.keys()


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    return compressed(tmp_path / "traces.jsonl.gz", shop_lines(100))


def test_a_signal_taken_away_is_gone_and_the_others_stay(recorded: Path) -> None:
    metrics = compressed(recorded.parent / "metrics.jsonl.gz", lines(3))
    kinds = {name: {type(each) for each in ABLATIONS[name]([recorded, metrics])} for name in ("no_spans", "no_metrics", "no_logs")}
    assert kinds == {"no_spans": {MetricBatch}, "no_metrics": {SpanBatch}, "no_logs": {SpanBatch, MetricBatch}}


def test_whole_traces_are_sampled(recorded: Path) -> None:
    whole, kept = traces(read_recording([recorded])), traces(ABLATIONS["tenth_of_traces"]([recorded]))
    assert len(whole) == 400
    assert len(kept) == 40
    assert all(spans == whole[trace] for trace, spans in kept.items())


def test_no_batch_is_left_empty(tmp_path: Path) -> None:
    lines_of_one_trace = shop_lines(5)
    for line in lines_of_one_trace:
        del line["resourceSpans"][0]["scopeSpans"][0]["spans"][2:]
    path = compressed(tmp_path / "traces.jsonl.gz", lines_of_one_trace)
    assert list(read_recording([path]))
    assert list(ABLATIONS["tenth_of_traces"]([path])) == []


def test_without_topology_no_span_has_a_parent_in_another_service(recorded: Path) -> None:
    batches = list(ABLATIONS["no_topology"]([recorded]))
    spans = [each for each in batches if isinstance(each, SpanBatch)]
    owner = {int(span_id): each.resources[place].get("service.name") for each in spans for span_id, place in zip(each.span_id, each.resource, strict=True)}
    parents = [(owner[int(own)], owner[int(parent)]) for each in spans for own, parent in zip(each.span_id, each.parent_id, strict=True) if parent]
    assert len(parents) == 800
    assert all(own == parent for own, parent in parents)


def test_without_topology_the_service_graph_is_gone_and_durations_stay(tmp_path: Path) -> None:
    path = compressed(tmp_path / "metrics.jsonl.gz", lines(3))
    names = [[each.strings[metric] for metric in each.metric] for each in ABLATIONS["no_topology"]([path]) if isinstance(each, MetricBatch)]
    assert [sorted(set(row)) for row in names] == [["http.server.request.duration", "http.server.request.success_ratio"]] * 3


def test_chosen_spans_keep_their_exceptions() -> None:
    whole = batch(span("basket", 1, 0, 0, 1), span("basket", 2, 1, 0, 1, exceptions=["Lost"]), span("basket", 3, 1, 0, 1, exceptions=["Found"]))
    chosen = spans_where(whole, np.array([True, False, True]))
    assert chosen.span_id.tolist() == [1, 3]
    assert chosen.exception_row.tolist() == [1]
    assert [chosen.strings[text] for text in chosen.exception_type] == ["Found"]


def traces(batches: Iterator[SpanBatch | MetricBatch | LogBatch]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for each in batches:
        assert isinstance(each, SpanBatch)
        for trace, own in zip(each.trace_low.tolist(), each.span_id.tolist(), strict=True):
            found.setdefault(trace, set()).add(own)
    return found
