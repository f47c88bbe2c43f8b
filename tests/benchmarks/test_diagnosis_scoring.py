"""What an answer is worth: the scorer is taken from beside the incidents, probabilities are held against what came true."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import diagnosis
from benchmarks.diagnosis_demo import DemoRuns, FaultRun, PairRun, QuietRun
from benchmarks.diagnosis_scoring import Scored, ScorerMissingError, calibration_error, said_of_first, said_of_services, score, scorer_in, top
from tests.benchmarks.synthetic import SCORER

CAUSES = (
    {"service": "basket", "name": "basket-7d", "probability": 0.7},
    {"service": None, "name": "ledger", "probability": 0.2},
    {"service": "basket", "name": "basket", "probability": 0.4},
)


@pytest.fixture
def incidents(tmp_path: Path) -> Path:
    (tmp_path / "score.py").write_text(SCORER)
    return tmp_path


def test_an_answer_is_scored_by_the_scorer_beside_the_incidents(incidents: Path) -> None:
    scored = score(scorer_in(incidents), "case", "latency", "ledger", CAUSES, ["basket", "ledger", "mail"])
    assert scored.hits == {1: 0.0, 3: 1.0, 5: 1.0}
    assert scored.rank == 2


def test_every_service_of_the_estate_has_a_probability_and_its_likeliest_cause_counts(incidents: Path) -> None:
    scored = score(scorer_in(incidents), "case", "latency", "ledger", CAUSES, ["basket", "ledger", "mail"])
    assert scored.probability == {"basket": 0.7, "ledger": 0.2, "mail": 0.0}
    assert said_of_services([scored]) == [(0.7, False), (0.2, True), (0.0, False)]
    assert said_of_first([scored]) == [(0.7, False)]


def test_a_service_that_is_not_accused_has_no_rank() -> None:
    assert Scored("case", "latency", "ledger", {1: 0.0}, {"basket": 0.7, "ledger": 0.0}).rank == 0


def test_without_the_incidents_the_message_says_how_to_give_them(tmp_path: Path) -> None:
    with pytest.raises(ScorerMissingError, match="--incidents or WHENCE_INCIDENTS"):
        scorer_in(tmp_path)
    with pytest.raises(ScorerMissingError, match="--only"):
        diagnosis.run(["petshop"], tmp_path)


def test_an_unknown_part_is_refused_with_those_there_are() -> None:
    with pytest.raises(diagnosis.UnknownPartError, match="trainticket, petshop"):
        diagnosis.run(["petshops"])


def test_hits_are_averaged_over_the_answers() -> None:
    answers = [Scored(name, "g", "a", {1: hit}, {"a": 1.0}) for name, hit in (("x", 1.0), ("y", 0.5), ("z", 0.0))]
    assert top(answers, 1) == 0.5


def test_probabilities_that_come_true_as_often_as_they_say_have_no_calibration_error() -> None:
    assert calibration_error([(0.25, True)] + [(0.25, False)] * 3 + [(0.75, True)] * 3 + [(0.75, False)]) == 0.0


def test_certainty_that_never_comes_true_has_all_the_calibration_error_there_is() -> None:
    assert calibration_error([(1.0, False)] * 4) == 1.0


def test_overconfidence_in_one_bin_does_not_make_up_for_doubt_in_another() -> None:
    assert calibration_error([(0.8, False), (0.2, True)]) == pytest.approx(0.8)


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1))
def test_calibration_error_is_at_least_the_error_of_the_mean_and_at_most_one(said: list[tuple[float, bool]]) -> None:
    mean_error = abs(sum(probability - true for probability, true in said)) / len(said)
    assert mean_error - 1e-4 <= calibration_error(said) <= 1.0


def test_a_fault_whose_place_is_right_and_defect_wrong_counts_as_named_but_not_localised() -> None:
    right = FaultRun("slow_query", 1, 1, 1, 20.0, 0.9, "database slow_query 0.90", 0)
    wrong = FaultRun("slow_query", 2, 2, 1, 40.0, 0.8, "database lock_contention 0.80", 1)
    figures = diagnosis.figures_of({"demo_faults": [DemoRuns((right, wrong), ())]})
    assert (figures["demo_faults_top1"], figures["localisation"], figures["localisation_top3"]) == (1.0, 0.5, 1.0)
    assert figures["median_seconds_to_verdict"] == 20.0
    assert figures["demo_faults_false_incidents"] == 1
    assert figures["ece_first_place"] == pytest.approx(0.45)
    assert figures["demo_faults_misses"] == ["slow_query seed 2: rank 2, first database lock_contention 0.80 after 40 s"]


def test_two_faults_count_only_when_both_are_among_the_first_two() -> None:
    pairs = [PairRun(("a", "b"), 1, ranks, "x") for ranks in ((1, 2), (2, 1), (1, 3), (0, 1))]
    figures = diagnosis.figures_of({"demo_faults": [DemoRuns((), tuple(pairs))]})
    assert (figures["two_faults_top2"], figures["two_faults_one_of_top2"]) == (0.5, 1.0)
    assert "demo_faults_top1" not in figures


def test_false_verdicts_are_counted_a_day() -> None:
    figures = diagnosis.figures_of({"demo_quiet": [QuietRun(1, 3.0, ("a", "b"), 1), QuietRun(2, 3.0, (), 0)]})
    assert figures["demo_quiet_false_verdicts_per_day"] == 8.0
    assert figures["demo_quiet_false_incidents_per_day"] == 4.0
