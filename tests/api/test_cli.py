"""The command line: exact transcripts over a server's fixed answers, exit codes, and one clear line for every mistake.

UPDATE_GOLDEN=1 writes the transcripts anew; read the difference before committing it.
"""

# ruff: noqa: ARG002  # the fake client has the real one's signatures

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import orjson
import pytest

import api.questions
from api.cli import main
from api.client import QueryRefusedError, ServerUnreachableError
from api.client_results import Drop, Entity, EntityAttribute, Instant, Relation, RelationStatistics, Status, Topology, as_json
from api.client_verdicts import (
    Account,
    CausalPath,
    Cause,
    CauseExplanation,
    CauseProbability,
    CauseSet,
    CauseSets,
    Change,
    Condition,
    Diagnosis,
    Effect,
    Evidence,
    Explanation,
    Hop,
    Impact,
    Incident,
    Intervention,
    NextObservation,
    Remedy,
    RootCause,
    RuledOut,
    Step,
    Symptom,
    WhatIf,
)
from api.doctor import ADVICE
from api.settings import ServeSettings, flag, variable
from tests.api.recordings import SECOND, shop_lines, write_lines

GOLDEN = Path(__file__).parent / "golden"
AT = Instant(1_772_000_700 * SECOND)
ONSET = Instant(int(AT) - 100 * SECOND)
CART, CHECKOUT, ITEMS = "service:c/shop/cart", "service:c/shop/checkout", "database:c/shop/items-db/items"
SLOW_ITEMS = Evidence(ITEMS, "latency_high", 4.2, 5.0, "mean 0.006 s -> 0.246 s over 240 requests", 0.24, "s", ONSET)
SLOW_QUERY = RootCause(
    ITEMS, "database", "c", "shop", "items-db/items", None, "slow_query", "A query became expensive, e.g. for want of an index.", 0.871, ONSET,
    (Condition(ITEMS, "latency_high"), Condition(CART, "latency_high"), Condition(CHECKOUT, "latency_high"), Condition(CHECKOUT, "errors_high")),
    (SLOW_ITEMS, Evidence(ITEMS, "connections_high", -0.7, -1.1, "share of connections 0.21, usually 0.2", 0.01, "1", None)),
    (Remedy("Find the slowest query and undo its change.", "Query time returns to its usual level", "An index built now loads the database."),),
)  # fmt: skip
SLOW_CODE = RootCause(
    CART, "service", "c", "shop", "cart", CART, "slow_code", "The code became slow.", 0.093, None, (Condition(CART, "latency_high"),), (), (),
)  # fmt: skip
UNLIKELY = RootCause(CHECKOUT, "service", "c", "shop", "checkout", CHECKOUT, "memory_leak", "Memory leaks.", 0.011, None, (), (), ())
DIAGNOSIS = Diagnosis(
    AT, exact=True, stale="", root_causes=(SLOW_QUERY, SLOW_CODE, UNLIKELY),
    symptoms=(Symptom(CART, "latency_high", 0.99, "mean 0.02 s -> 0.26 s over 240 requests", 0.24, "s", ONSET),),
    ruled_out=(RuledOut(CHECKOUT, "slow_code", "latency_high of service:c/shop/checkout began 120 s after latency_high of service:c/shop/cart"),),
    omitted=3,
)  # fmt: skip
QUIET = Diagnosis(AT, exact=True, stale="", root_causes=(UNLIKELY,), symptoms=(), ruled_out=(), omitted=0)
UNSEEN = Diagnosis(None, exact=True, stale="", root_causes=(), symptoms=(), ruled_out=(), omitted=0)
STEPS = (
    Step(ITEMS, "latency_high", 6.2, "mean 0.006 s -> 0.246 s over 240 requests", 5.7),
    Step(CART, "latency_high", 6.2, "mean 0.02 s -> 0.26 s over 240 requests", 3.1),
    Step(ITEMS, "connections_high", -2.0, "share of connections 0.21, usually 0.2", -0.7),
)
PATHS = (
    CausalPath(0.95, (Hop(ITEMS, "latency_high", "", 0.95),)),
    CausalPath(0.84, (Hop(ITEMS, "latency_high", "", 0.95), Hop(CART, "latency_high", "queries", 0.884))),
)
BEHIND = Account(-0.4, (Step(ITEMS, "latency_high", 6.2, "mean 0.006 s -> 0.246 s over 240 requests", -3.2),), 4, -0.59, -4.19)
EXPLANATION = Explanation(
    AT, exact=True, entropy=1.2,
    causes=(
        CauseExplanation(ITEMS, "slow_query", Account(-6.9, STEPS, 14, 0.71, 1.91), PATHS, None, None),
        CauseExplanation(CART, "slow_code", Account(-7.3, STEPS[1:2], 0, 1.92, -2.28), (), Cause(ITEMS, "slow_query"), BEHIND),
    ),
    would_tell=(
        NextObservation(ITEMS, "lock_waits_high", 1.28, 0.36, CauseProbability(ITEMS, "lock_contention", 0.976), CauseProbability(ITEMS, "slow_query", 0.886)),
    ),
)  # fmt: skip
UNEXPLAINED = Explanation(None, exact=True, causes=(), entropy=0.0, would_tell=())
CAUSE_SETS = CauseSets(
    AT, exact=True, sets=(CauseSet(0.85, (Cause(ITEMS, "slow_query"),)), CauseSet(0.07, (Cause(ITEMS, "slow_query"), Cause(CART, "slow_code"))), CauseSet(0.001, ())),
)  # fmt: skip
INCIDENTS = (
    Incident(
        "2",
        ITEMS,
        "slow_query",
        "OPEN",
        AT,
        ONSET,
        None,
        0.87,
        0.91,
        (Condition(CART, "latency_high"),),
        (SLOW_ITEMS,),
        (Effect(ITEMS, "latency_high", 0.002, 0.95), Effect(CART, "latency_high", 0.01, 0.87)),
        (Change(Instant(int(AT) - 130 * SECOND), ITEMS, "config", "work_mem 64MB -> 4MB"),),
    ),
    Incident("1", CART, "slow_code", "RECOVERED", Instant(int(AT) - 7_000 * SECOND), None, Instant(int(AT) - 3_000 * SECOND), 0.1, 0.8, ()),
)
STATUS = Status(
    AT, "0.1.0", "7ac76b20ffdf", "", 3, 2, 1, True, Instant(int(AT) - 5 * SECOND), "", 7, (CART, CHECKOUT, ITEMS, *(f"pod:c/shop/cart-{each}" for each in range(4))),
    (Drop("late", 1_234.0), Drop("someday_a_reason", 2.0)),
)  # fmt: skip


def entity(identity: str, *attributes: tuple[str, str], sources: tuple[str, ...] = ("otlp.traces",)) -> Entity:
    kind, _, rest = identity.partition(":")
    cluster, namespace, name = rest.split("/", 2)
    service = identity if kind == "service" else None
    return Entity(identity, kind, cluster, namespace, name, service, tuple(EntityAttribute(*each) for each in attributes), sources, ONSET, AT)


ENTITIES = (entity(ITEMS), entity(CART, ("service.version", "1.4")), entity(CHECKOUT, sources=("otlp.metrics",)))
TRAFFIC = RelationStatistics(60.0, 240, 6, 4.0, 0.025, 0.2493)
RELATIONS = (
    Relation(CHECKOUT, "calls", CART, ("otlp.traces",), 0.99, ONSET, AT, TRAFFIC),
    Relation(CART, "queries", ITEMS, ("otlp.traces",), 0.9, ONSET, AT, None),
)


class FakeClient:
    """A Whence whose answers never change."""

    def __init__(self, url: str) -> None:
        if not url.startswith("http://fake"):
            raise ServerUnreachableError(f"No Whence answers at {url}: start `whence serve`, or give --server URL.")
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def status(self) -> Status:
        return STATUS

    def diagnosis(self, *, at: int | None = None, first: int = 20) -> Diagnosis:
        if at == 0:
            raise QueryRefusedError("There is no diagnosis of that instant.", ("NOT_FOUND",))
        return {"http://fake/quiet": QUIET, "http://fake/unseen": UNSEEN}.get(self.url, DIAGNOSIS)

    def explained(self, *, first: int = 20, sets: int = 0) -> tuple[Diagnosis, Explanation, CauseSets | None]:
        return self.diagnosis(first=first), EXPLANATION if self.url == "http://fake" else UNEXPLAINED, CAUSE_SETS if sets else None

    def root_causes(self, *, at: int | None = None, first: int = 20) -> tuple[RootCause, ...]:
        return DIAGNOSIS.root_causes

    def incidents(self, *, state: str | None = None, first: int = 20) -> tuple[Incident, ...]:
        return tuple(each for each in INCIDENTS if state in {None, each.state})

    def impact(self, entity: str, *, defect: str | None = None, condition: str | None = None, first: int = 50) -> Impact:
        if (defect, condition) not in {("slow_query", None), (None, "latency_high")}:
            raise QueryRefusedError(f"A database has no condition {condition!r}.", ("NOT_FOUND",))
        effects = (Effect(ITEMS, "latency_high", 0.002, 0.95), Effect(CART, "latency_high", 0.01, 0.87), Effect(CART, "errors_high", 0.01, 0.012))
        return Impact(entity, defect, condition, effects, exact=defect is not None, standard_error=0.0 if defect else 0.0039)

    def what_if(self, interventions: list[Intervention], *, first: int = 50) -> WhatIf:
        effects = (Effect(ITEMS, "latency_high", 0.999, 0.04), Effect(CART, "latency_high", 0.99, 0.12))
        return WhatIf(
            tuple(interventions),
            effects,
            (CauseProbability(CART, "slow_code", 0.093), CauseProbability(CHECKOUT, "memory_leak", 0.01)),
            exact=True,
            standard_error=0.0,
        )

    def topology(self, root: str, *, depth: int = 1, at: int | None = None) -> Topology:
        return Topology(AT, root, ENTITIES, RELATIONS, truncated=False)

    def entities(self, *, kind: str | None = None, text: str | None = None, first: int = 100) -> tuple[Entity, ...]:
        return tuple(each for each in ENTITIES if kind in {None, each.kind} and (text or "") in each.id)

    def ask(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        edges = [{"node": _camel(as_json(each))} for each in ENTITIES]
        return {"entities": {"edges": edges, "pageInfo": {"hasNextPage": False, "endCursor": None}}}


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.questions, "WhenceClient", FakeClient)
    monkeypatch.setenv("WHENCE_SERVER", "http://fake")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("causes", ["causes"]),
        ("causes_past", ["causes", "--at", "2026-02-25T06:25:00Z"]),
        ("causes_sets", ["causes", "--sets"]),
        ("causes_quiet", ["causes", "--server", "http://fake/quiet"]),
        ("causes_unseen", ["causes", "--server", "http://fake/unseen"]),
        ("incidents", ["incidents"]),
        ("incidents_why", ["incidents", "--why"]),
        ("impact", ["impact", f"{ITEMS}.slow_query"]),
        ("impact_sampled", ["impact", f"{ITEMS}.latency_high"]),
        ("what_if", ["what-if", "items-db/items.slow_query=false"]),
        ("topology", ["topology"]),
        ("doctor", ["doctor", "--otlp-grpc", "127.0.0.1:9", "--otlp-http", "127.0.0.1:9"]),
    ],
)
def test_transcripts_are_exact(name: str, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(command)
    told = capsys.readouterr()
    assert told.err == ""
    golden = GOLDEN / f"{name}.txt"
    if "UPDATE_GOLDEN" in os.environ:
        golden.write_text(told.out, encoding="utf-8")
    assert told.out == golden.read_text(encoding="utf-8")


def test_text_fits_a_narrow_terminal_and_has_no_colour_when_piped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    main(["causes"])
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 60
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (["causes"], "root_causes"),
        (["causes"], "explanation"),
        (["causes", "--sets"], "cause_sets"),
        (["causes", "--at", "2026-02-25T06:25:00Z"], "root_causes"),
        (["impact", f"{ITEMS}.latency_high"], "effects"),
        (["what-if", f"{CART}.slow_code=no"], "causes"),
        (["topology"], "relations"),
        (["topology", "cart", "--depth", "2"], "entities"),
        (["doctor"], "checks"),
        (["schema"], "__schema"),
    ],
)
def test_every_answer_is_there_as_one_line_of_json(command: list[str], key: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main([*command, "--json"]) == 0
    (line,) = capsysbinary.readouterr().out.splitlines()
    assert orjson.loads(line)[key]


def test_causes_and_replay_use_the_same_words(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    main(["causes", "--json"])
    live = orjson.loads(capsysbinary.readouterr().out)
    main(["replay", str(write_lines(tmp_path / "traces.jsonl", shop_lines(20))), "--json"])
    recorded = orjson.loads(capsysbinary.readouterr().out)
    assert recorded.keys() <= live.keys()
    assert recorded["root_causes"][0].keys() <= live["root_causes"][0].keys()


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (["causes", "--server", "http://127.0.0.1:9"], 2, "No Whence answers at http://127.0.0.1:9"),
        (["causes", "--at", "noon"], 2, "--at: 'noon' is no instant"),
        (["causes", "--at", "1970-01-01T00:00:00Z"], 1, "There is no diagnosis of that instant"),
        (["causes", "--sets", "--at", "2026-02-25T06:25:00Z"], 2, "--sets and --at do not go together"),
        (["causes", "--nonsense"], 2, "No such option: --nonsense"),
        (["nonsense"], 2, "No such command 'nonsense'. See `whence --help`."),
        (["causes", "--first", "0"], 2, "greater than or equal to 1. See `whence --help`."),
        (["impact", "nobody.slow_query"], 1, "No entity is called 'nobody'"),
        (["impact", "shop.slow_query"], 2, "'shop' may be any of 3 entities"),
        (["impact", f"{ITEMS}.nonsense"], 1, "A database has no condition 'nonsense'"),
        (["impact", "items"], 2, "names no defect or condition"),
        (["what-if", "cart.slow_code"], 2, "is no intervention: write ENTITY.NAME=true or =false"),
        (["what-if", "cart.slow_code=maybe"], 2, "is no intervention"),
        (["topology", "--at", "2026-03-01T12:30:00Z"], 2, "--at needs an ENTITY"),
        (["incidents", "--state", "closed"], 2, "write open or recovered"),
        (["doctor", "/tmp"], 2, "A folder goes with --knowledge"),
        (["doctor", "--otlp-grpc", "4317"], 2, "'4317' is no address"),
        (["replay"], 2, "Missing argument"),
        (["replay", "/nowhere/traces.jsonl"], 2, "/nowhere/traces.jsonl does not exist"),
        (["replay", "/nowhere", "--at", "noon"], 2, "'noon' is no instant"),
    ],
)
def test_mistakes_are_told_in_one_line(command: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert told in captured.err
    assert captured.err.startswith("whence: ")
    assert captured.err.count("\n") == 1


def test_a_recording_cut_in_the_middle_is_answered_and_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = write_lines(tmp_path / "whole.jsonl", shop_lines(60)).read_bytes()
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(content[: len(content) // 2 + 100])
    assert main(["replay", str(cut), "--json"]) == 2
    captured = capsys.readouterr()
    assert orjson.loads(captured.out)["at"].startswith("2026-02-25T06:13:")
    assert "it is cut in the middle" in captured.err
    assert captured.err.count("\n") == 1


def test_an_empty_recording_has_nothing_to_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(write_lines(tmp_path / "traces.jsonl", []))]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "whence: The recording holds no telemetry: there is nothing to say of it.\n")


@pytest.mark.parametrize("command", [["causes"], ["causes", "--json"], ["schema"], ["--help"], ["serve", "--help"], ["store", "--help"], ["--version"]])
def test_a_reader_who_has_seen_enough_ends_a_command_quietly(command: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        assert main(command) == 141
    assert capfd.readouterr().err == ""


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert "Usage: whence" in captured.out
    assert captured.err == ""


def test_replay_tells_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(tmp_path / "traces.jsonl", shop_lines(20))
    (tmp_path / "labels.json").write_text("[]")
    assert main(["replay", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "2026-02-25 06:13:40 UTC" in captured.out
    assert captured.err == f"whence: {tmp_path / 'labels.json'} holds no OTLP and is left out.\n"


def test_every_reason_for_a_drop_that_is_documented_comes_with_advice() -> None:
    docs = Path(__file__).parents[2] / "docs"
    pages = (docs / "ingest.md").read_text().partition("## What is dropped")[2], (docs / "graph.md").read_text().partition("## Dropped")[2]
    reasons = {reason for page in pages for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for reason in re.findall(r"`(\w+)`", row)}
    assert len(reasons) > 20
    assert reasons <= ADVICE.keys()


def test_help_shows_every_setting_with_its_variable_and_default(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["serve", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for name, field in ServeSettings.model_fields.items():
        assert variable(name) in out
        if name in {"store_user", "store_password", "store_ca"}:  # a password on the command line is seen by all who list processes
            continue
        assert flag(name) in out
        assert str(field.default or "empty" if field.default is not None else "none") in out
    assert "WHENCE_CONFIG" in out


def _camel(value: Any) -> Any:
    if isinstance(value, list):
        return [_camel(each) for each in value]
    if isinstance(value, dict):
        return {name.split("_")[0] + "".join(word.capitalize() for word in name.split("_")[1:]): _camel(each) for name, each in value.items()}
    return value
