"""Rule files that change while Whence runs: a good file is taken up and belief follows, a bad one is refused whole and told."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from api.client import WhenceClient
from api.client_results import Status
from api.doctor import Check, Health, checks
from api.pipeline import Pipeline
from api.runtime import Runtime
from graph.memory_store import MemoryGraphStore
from ingest.otlp.files import read_recording
from schema.batches import Batch
from schema.loader import load_knowledge
from schema.verdicts import Diagnosis
from tests.api.recordings import shop_lines, write_lines
from tests.api.test_server import LONG, send, serving

RARE = "kind: database\ndefects:\n  slow_query: {prior_per_hour: 0.000001}\n"
BROKEN = "kind: database\ndefects:\n  slow_qery: {prior_per_hour: 0.01}\n"
CONTRADICTING = """\
overrides:
  - {select: {kind: database, name: "items*"}, prior_per_hour: {slow_query: 0.03}}
  - {select: {kind: database, labels: {tier: gold}}, prior_per_hour: {slow_query: 0.01}}
"""
CHANGED_AT = 140


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[Batch]:
    return list(read_recording([write_lines(tmp_path_factory.mktemp("shop") / "traces.jsonl", shop_lines(450, slow_from=330, rate=2))]))


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "node.yaml").write_text("kind: node\ndefects:\n  down: {prior_per_hour: 0.0002}\n")
    return tmp_path / "rules"


async def started(rules: Path, batches: list[Batch]) -> Runtime:
    runtime = Runtime(Pipeline(load_knowledge(rules)), MemoryGraphStore())
    await runtime.start()
    for batch in batches:
        await runtime.take(batch)
    return runtime


def probability(diagnosis: Diagnosis, defect: str) -> float:
    return next((each.probability for each in diagnosis.root_causes if each.cause.defect == defect), 0.0)


async def test_a_good_file_is_taken_up_and_belief_follows_at_once(rules: Path, batches: list[Batch]) -> None:
    runtime = await started(rules, batches)
    news = runtime.diagnoses()
    before, version, incidents = await anext(news), runtime.status().knowledge, runtime.pipeline.reasoner.incidents
    assert [each.cause.defect for each in incidents] == ["slow_query"]
    (rules / "database.yaml").write_text(RARE)
    await runtime.reload_knowledge(partial(load_knowledge, rules))
    after = await anext(news)
    assert after is runtime.diagnosis is runtime.diagnosis_at(before.at)
    assert after.at == before.at
    assert probability(before, "slow_query") > 0.5 > probability(after, "slow_query")
    assert runtime.status().knowledge != version
    assert runtime.pipeline.reasoner.incidents == incidents  # what is open closes by windows, not by a file
    assert dict(runtime.knowledge_reloads) == {"taken_up": 1}
    await runtime.stop()


async def test_after_a_reload_every_window_is_judged_as_if_the_rules_had_always_been_these(rules: Path, batches: list[Batch]) -> None:
    runtime = await started(rules, batches[:CHANGED_AT])
    (rules / "database.yaml").write_text(RARE)
    await runtime.reload_knowledge(partial(load_knowledge, rules))
    always = Pipeline(load_knowledge(rules))
    for batch in batches[:CHANGED_AT]:
        always.add(batch)
    list(always.advance())
    compared = 0
    for batch in batches[CHANGED_AT:]:
        await runtime.take(batch)
        always.add(batch)
        for step in always.advance():
            found, expected = ({each.cause: each.probability for each in it.root_causes} for it in (runtime.diagnosis_at(step.diagnosis.at), step.diagnosis))
            assert found == pytest.approx(expected, abs=1e-6)
            compared += 1
    assert compared > 3
    await runtime.stop()


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("database", BROKEN, 'rules/database.yaml:3: there is no "slow_qery" to change here, and a new one needs a summary. Did you mean "slow_query"?'),
        ("database", "kind: [\n", "rules/database.yaml:2: this is no YAML"),
        ("overrides", CONTRADICTING, 'rules/overrides.yaml:3: "slow_query" is 0.01 here and 0.03 at'),
    ],
)
async def test_a_bad_file_is_refused_whole_and_told_until_a_good_one_comes(name: str, text: str, place: str, rules: Path, batches: list[Batch]) -> None:
    runtime = await started(rules, batches[:CHANGED_AT])
    version, before = runtime.status().knowledge, runtime.diagnosis
    (rules / "node.yaml").write_text("kind: node\ndefects:\n  down: {prior_per_hour: 0.0004}\n")  # good, but not without the other
    (rules / f"{name}.yaml").write_text(text)
    await runtime.reload_knowledge(partial(load_knowledge, rules))
    status = runtime.status()
    assert place in status.knowledge_trouble
    assert status.knowledge == version
    assert runtime.pipeline.knowledge.kinds["node"].defects["down"].prior_per_hour == 0.0002
    assert runtime.diagnosis is before
    (rules / f"{name}.yaml").unlink()
    await runtime.reload_knowledge(partial(load_knowledge, rules))
    assert runtime.status().knowledge_trouble == ""
    assert runtime.pipeline.knowledge.kinds["node"].defects["down"].prior_per_hour == 0.0004
    await runtime.reload_knowledge(partial(load_knowledge, rules))
    assert dict(runtime.knowledge_reloads) == {"refused": 1, "taken_up": 1, "unchanged": 1}
    await runtime.stop()


async def test_rules_may_change_before_the_first_window(rules: Path) -> None:
    runtime = await started(rules, [])
    (rules / "database.yaml").write_text(RARE)
    await runtime.reload_knowledge(partial(load_knowledge, rules))
    assert runtime.pipeline.knowledge.kinds["database"].defects["slow_query"].prior_per_hour == 0.000001
    assert runtime.diagnosis.at == 0
    await runtime.stop()


def knowledge_check(client: WhenceClient) -> Check:
    return next(check for check in checks(client, []) if check.name == "knowledge")


def answered(client: WhenceClient, has_come: Callable[[Status], bool]) -> Status:
    """The status once a signal had its effect."""
    until = time.monotonic() + LONG
    while not has_come(status := client.status()):
        assert time.monotonic() < until
    return status


@pytest.mark.slow
def test_a_running_server_takes_up_rules_at_a_signal_and_doctor_tells_what_it_refused(rules: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--knowledge", str(rules)) as whence, WhenceClient(whence.doors["http"]) as client:
        send(whence.doors["otlp_grpc"], shop_lines(420, slow_from=330, rate=2))
        assert client.diagnosis().root_causes[0].defect == "slow_query"
        first = client.status().knowledge
        (rules / "database.yaml").write_text(BROKEN)
        whence.process.send_signal(signal.SIGHUP)
        assert answered(client, lambda status: status.knowledge_trouble != "").knowledge == first
        told = knowledge_check(client)
        assert told.health is Health.WARNING
        assert f"Version {first} stays in force" in told.found
        assert "database.yaml:3" in told.found
        assert "SIGHUP" in told.advice
        (rules / "database.yaml").write_text(RARE)
        whence.process.send_signal(signal.SIGHUP)
        assert answered(client, lambda status: status.knowledge != first).knowledge_trouble == ""
        assert knowledge_check(client).health is Health.WELL
        assert client.diagnosis().root_causes[0].defect != "slow_query"
        assert whence.stop(signal.SIGTERM)[0] == 0
