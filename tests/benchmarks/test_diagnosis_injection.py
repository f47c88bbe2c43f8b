"""Faults put into coarse rows: what is added at the culprit climbs to its callers, and the batches say so."""

from __future__ import annotations

import gzip

import numpy as np
import orjson
import pytest

from benchmarks.diagnosis_injection import ERRORS, LATENCY, SCENARIOS, Injection, Rows, coupling, inject
from benchmarks.diagnosis_petshop import rows_of, with_fault
from ingest.otlp.files import read_recording
from schema.batches import MetricBatch
from tests.benchmarks.synthetic import CALLS, REQUESTS, lines

NUMBER = 110


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[MetricBatch]:
    path = tmp_path_factory.mktemp("coarse") / "metrics.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(orjson.dumps(line) + b"\n" for line in lines(NUMBER))))
    return [batch for batch in read_recording([path]) if isinstance(batch, MetricBatch)]


@pytest.fixture(scope="module")
def rows(batches: list[MetricBatch]) -> Rows:
    return rows_of(batches)


def injections(rows: Rows, scenario: str, kind: int) -> list[Injection]:
    """Those of a hundred draws that the entry shows."""
    drawn = [inject(rows, scenario, np.random.default_rng(seed)) for seed in range(100)]
    found = [each for each in drawn if each is not None and each.kind == kind]
    assert found
    return found


def test_rows_are_the_growth_of_the_sums(rows: Rows) -> None:
    basket = rows.names.index("basket")
    assert np.isnan(rows.requests[0]).all()
    assert rows.requests[1:, basket] == pytest.approx(REQUESTS["basket"], abs=20)
    assert rows.seconds[1:, basket] / rows.requests[1:, basket] == pytest.approx(0.1, rel=0.04)
    assert {(rows.names[caller], rows.names[callee]) for caller, callees in rows.callees.items() for callee in callees} == set(CALLS)


def test_a_column_of_zeros_is_no_service_that_always_fails(rows: Rows) -> None:
    assert np.isnan(rows.failures[:, rows.names.index("mail")]).all()
    assert not any(rows.names[each.service] == "mail" for each in injections(rows, "plain", ERRORS))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_fault_is_below_the_entry_and_in_the_last_rows_alone(rows: Rows, scenario: str) -> None:
    for injection in injections(rows, scenario, LATENCY):
        assert rows.names[injection.service] != "entry"
        assert injection.end - injection.first == len(injection.seconds) == 2
        assert (injection.seconds[:, injection.service] > 0).all()


def test_without_amplification_a_caller_gains_no_more_than_its_callee(rows: Rows) -> None:
    for injection in injections(rows, "plain", LATENCY):
        assert (injection.seconds.sum(axis=1) > injection.seconds[:, injection.service]).all()
        assert (injection.seconds <= injection.seconds[:, [injection.service]] + 1e-9).all()


def test_amplified_excess_is_larger_at_the_entry_than_at_the_culprit(rows: Rows) -> None:
    entry = rows.names.index("entry")
    gains = [each.seconds[0, entry] / each.seconds[0, each.service] for each in injections(rows, "all_amplify", LATENCY)]
    assert float(np.median(gains)) > 1.5


def test_callers_of_the_other_kind_show_failures_for_slowness(rows: Rows) -> None:
    for injection in injections(rows, "other_kind", LATENCY):
        assert injection.failures[:, injection.service].sum() == 0
        assert injection.failures.sum() > 0
        assert np.count_nonzero(injection.seconds[0]) == 1


def test_nobody_fails_more_often_than_it_is_asked(rows: Rows) -> None:
    for injection in injections(rows, "all_amplify", ERRORS):
        assert (injection.failures <= rows.requests[injection.first : injection.end]).all()


def test_the_same_chance_makes_the_same_fault(rows: Rows) -> None:
    one, other = (injections(rows, "mirrored", LATENCY)[0] for _ in range(2))
    assert (one.service, one.end, one.seconds.tolist()) == (other.service, other.end, other.seconds.tolist())


def test_a_coupling_is_learnt_where_both_move_together_and_unknown_where_the_callee_is_steady() -> None:
    chance = np.random.default_rng(1)
    requests = np.full((60, 3), 100.0)
    callee = chance.uniform(5.0, 15.0, 60)
    seconds = np.column_stack([20.0 + 0.8 * callee + chance.normal(0, 0.05, 60), callee, np.full(60, 7.0)])
    moved = Rows(("caller", "callee", "steady"), requests, seconds, np.zeros((60, 3)), {0: (1, 2)})
    assert coupling(moved, 0, 1, LATENCY) == pytest.approx(0.8, abs=0.05)
    assert coupling(moved, 0, 2, LATENCY) is None


def test_the_batches_carry_what_the_fault_adds_and_end_with_it(batches: list[MetricBatch], rows: Rows) -> None:
    for kind in (LATENCY, ERRORS):
        injection = injections(rows, "plain", kind)[0]
        faulty = [batch for batch in with_fault(batches, rows, injection) if isinstance(batch, MetricBatch)]
        seen = rows_of(faulty)
        assert len(faulty) == injection.end
        quiet = slice(0, injection.first)
        np.testing.assert_array_equal(seen.seconds[quiet], rows.seconds[quiet])
        np.testing.assert_array_equal(seen.failures[quiet], rows.failures[quiet])
        during = slice(injection.first, injection.end)
        np.testing.assert_allclose(seen.seconds[during] - rows.seconds[during], injection.seconds, atol=1e-6)
        measured = np.isfinite(rows.failures[during])
        np.testing.assert_allclose((seen.failures - np.nan_to_num(rows.failures[: injection.end]))[during][measured], injection.failures[measured], atol=1e-6)
