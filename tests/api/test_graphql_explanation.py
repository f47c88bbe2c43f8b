"""GraphQL over the reasons of a diagnosis: a recording of a slow database, asked why."""

from __future__ import annotations

from math import exp
from pathlib import Path
from typing import Any

import pytest

from api.runtime import Runtime
from ingest.otlp.files import read_recording
from reasoning.errors import InconsistentEvidenceError
from tests.api import synthetic_estate as estate
from tests.api.asking import ask, refused
from tests.api.recordings import shop_lines, write_lines

ITEMS = "database:c/shop/items-db/items"
ACCOUNT = "{ before steps { entity condition observed change } others rest after }"
EXPLANATION = f"""{{ explanation {{ at exact entropy
    causes {{ entity defect account {ACCOUNT} paths {{ strength hops {{ entity condition relation strength }} }} leader {{ entity defect }} behind {ACCOUNT} }}
    wouldTell {{ entity condition gain probability ifShown {{ entity defect probability }} ifNot {{ entity defect probability }} }} }}
    diagnosis(first: 3) {{ at rootCauses {{ entity defect probability }} }} }}"""


@pytest.fixture
async def slow_database(tmp_path: Path) -> Runtime:
    runtime = await estate.runtime()
    for batch in read_recording([write_lines(tmp_path / "traces.jsonl", shop_lines(240, slow_from=150))]):
        await runtime.take(batch)
    return runtime


def adds_up(account: dict[str, Any]) -> bool:
    return bool(account["before"] + sum(step["change"] for step in account["steps"]) + account["rest"] == pytest.approx(account["after"]))


async def test_an_explanation_adds_up_to_the_diagnosis_and_says_what_would_tell(slow_database: Runtime) -> None:
    answer = await ask(slow_database, EXPLANATION)
    explanation, causes = answer["explanation"], answer["diagnosis"]["rootCauses"]
    assert explanation["at"] == answer["diagnosis"]["at"]
    assert [(each["entity"], each["defect"]) for each in explanation["causes"]] == [(each["entity"], each["defect"]) for each in causes]
    for explained, cause in zip(explanation["causes"], causes, strict=True):
        assert adds_up(explained["account"])
        assert 1.0 / (1.0 + exp(-explained["account"]["after"])) == pytest.approx(cause["probability"])
    first, second, _ = explanation["causes"]
    assert (first["entity"], first["defect"], first["leader"], first["behind"]) == (ITEMS, "slow_query", None, None)
    assert first["account"]["steps"][0]["entity"] == ITEMS
    assert first["account"]["steps"][0]["change"] > 3.0
    assert "queries" in {hop["relation"] for path in first["paths"] for hop in path["hops"]}
    assert (second["defect"], second["leader"]) == ("lock_contention", {"entity": ITEMS, "defect": "slow_query"})
    assert adds_up(second["behind"])
    telling = explanation["wouldTell"][0]
    assert (telling["entity"], telling["condition"], telling["ifShown"]["defect"], telling["ifNot"]["defect"]) == (
        ITEMS,
        "lock_waits_high",
        "lock_contention",
        "slow_query",
    )
    assert 0.0 < telling["gain"] < explanation["entropy"]


async def test_look_alikes_are_sets_of_their_own(slow_database: Runtime) -> None:
    answer = await ask(slow_database, "{ causeSets(first: 2) { at exact sets { probability causes { entity defect } } } }")
    sets = answer["causeSets"]["sets"]
    assert [each["causes"] for each in sets] == [[{"entity": ITEMS, "defect": "slow_query"}], [{"entity": ITEMS, "defect": "lock_contention"}]]
    assert sets[0]["probability"] > sets[1]["probability"] > 0.2


async def test_before_the_first_window_there_is_nothing_to_explain() -> None:
    answer = await ask(
        await estate.runtime(), "{ explanation { at exact entropy causes { defect } wouldTell { gain } } causeSets { at sets { probability } } }"
    )
    assert answer == {"explanation": {"at": None, "exact": True, "entropy": 0.0, "causes": [], "wouldTell": []}, "causeSets": {"at": None, "sets": []}}


@pytest.mark.parametrize(
    ("query", "hint"),
    [("{ explanation(first: 11) { at } }", "from 1 to 10"), ("{ causeSets(first: 0) { at } }", "from 1 to 20")],
)
async def test_sizes_are_bounded(query: str, hint: str) -> None:
    assert hint in await refused(await estate.runtime(), query, "BAD_USER_INPUT")


async def test_reasoning_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise InconsistentEvidenceError([1, 2], "a and b")

    runtime = await estate.runtime()
    monkeypatch.setattr(runtime.pipeline.reasoner, "explanation", fail)
    monkeypatch.setattr(runtime.pipeline.reasoner, "cause_sets", fail)
    assert "a and b" in await refused(runtime, "{ explanation { at } }", "REASONING_FAILED")
    assert "a and b" in await refused(runtime, "{ causeSets { at } }", "REASONING_FAILED")
