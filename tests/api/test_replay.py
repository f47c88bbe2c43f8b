"""A recording answers as the live run would have: repeatable, blind to what comes after, honest about what is broken."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from api.instants import parse_instant, write_instant
from api.pipeline import Pipeline
from api.replay import BrokenRecordingError, RecordingNotFoundError, Replay, answer_line, recordings_in
from ingest.otlp.files import read_recording
from schema.knowledge import CausalKnowledge
from schema.loader import load_knowledge
from tests.api.recordings import SECOND, START, Line, shop_lines, write_lines

SLOW_FROM, SECONDS = 330, 480
QUIET, AFTER, LATER = START + 325 * SECOND, START + 420 * SECOND, START + 470 * SECOND


@pytest.fixture(scope="module")
def knowledge() -> CausalKnowledge:
    return load_knowledge()


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return shop_lines(SECONDS, slow_from=SLOW_FROM, rate=2)


@pytest.fixture(scope="module")
def plain(knowledge: CausalKnowledge, lines: list[Line], tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What the recording says of QUIET, AFTER and LATER."""
    return asked(knowledge, [write_lines(tmp_path_factory.mktemp("plain") / "traces.jsonl", lines)], LATER, QUIET, AFTER, AFTER)


def asked(knowledge: CausalKnowledge, files: list[Path], *instants: int) -> list[bytes]:
    return list(answered(knowledge, files, *instants))


def answered(knowledge: CausalKnowledge, files: list[Path], *instants: int) -> Iterator[bytes]:
    for answer in Replay(Pipeline(knowledge)).answers(read_recording(files), instants):
        yield answer_line(answer)


def test_the_slow_database_stands_first_once_it_is_slow(plain: list[bytes]) -> None:
    quiet, after, _ = (orjson.loads(line) for line in plain)
    assert all(cause["probability"] < 0.2 for cause in quiet["root_causes"])
    first = after["root_causes"][0]
    assert first["entity"] == "database:c/shop/items-db/items"
    assert (first["kind"], first["cluster"], first["namespace"], first["name"], first["service"]) == ("database", "c", "shop", "items-db/items", None)
    assert abs(parse_instant(first["onset"]) - (START + SLOW_FROM * SECOND)) <= 60 * SECOND
    assert {"entity": "service:c/shop/checkout", "condition": "latency_high"} in first["explains"]
    probabilities = [cause["probability"] for cause in after["root_causes"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert {cause["service"] for cause in after["root_causes"] if cause["entity"] == "service:c/shop/cart"} == {"cart"}


def test_what_comes_after_an_instant_leaves_no_trace_in_its_answer(knowledge: CausalKnowledge, lines: list[Line], plain: list[bytes], tmp_path: Path) -> None:
    until = write_lines(tmp_path / "until.jsonl", [kept for line in lines if (kept := _until(line, AFTER))])
    assert asked(knowledge, [until], AFTER) == [plain[1]]


def test_instants_are_answered_in_order_of_time_and_once(plain: list[bytes]) -> None:
    assert [orjson.loads(line)["at"] for line in plain] == [write_instant(at) for at in (QUIET, AFTER, LATER)]


def test_an_answer_does_not_depend_on_what_else_is_asked(knowledge: CausalKnowledge, lines: list[Line], plain: list[bytes], tmp_path: Path) -> None:
    first, second, later = asked(knowledge, [write_lines(tmp_path / "traces.jsonl", lines)], AFTER + SECOND, AFTER + 2 * SECOND, LATER)
    assert later == plain[2]
    # Both lie in the window that follows AFTER and is still open.
    root_causes = [orjson.loads(line)["root_causes"] for line in (first, second, plain[1])]
    assert root_causes[0] == root_causes[1] == root_causes[2]


def test_without_an_instant_the_end_is_answered(knowledge: CausalKnowledge, lines: list[Line], tmp_path: Path) -> None:
    (end,) = asked(knowledge, [write_lines(tmp_path / "traces.jsonl", lines)])
    assert abs(parse_instant(orjson.loads(end)["at"]) - (START + SECONDS * SECOND)) <= 10 * SECOND


def test_the_order_of_arrival_and_the_split_into_files_leave_no_trace(
    knowledge: CausalKnowledge, lines: list[Line], plain: list[bytes], tmp_path: Path
) -> None:
    chance = random.Random(5)
    places = sorted(range(len(lines)), key=lambda place: place + chance.uniform(0, 8))
    shuffled = [lines[place] for place in places]
    assert shuffled != lines
    halves = [write_lines(tmp_path / "b.jsonl", shuffled[::2]), write_lines(tmp_path / "c.jsonl", shuffled[1::2])]
    assert asked(knowledge, halves, QUIET, AFTER, LATER) == plain


def test_a_recording_cut_in_the_middle_answers_for_what_came_before(knowledge: CausalKnowledge, lines: list[Line], plain: list[bytes], tmp_path: Path) -> None:
    content = write_lines(tmp_path / "whole.jsonl", lines).read_bytes()
    middle = sum(len(line) for line in content.splitlines(keepends=True)[: len(lines) * 9 // 10]) + 100
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(content[:middle])
    found = answered(knowledge, [cut], QUIET, AFTER, LATER)
    assert [next(found), next(found)] == plain[:2]
    with pytest.raises(BrokenRecordingError, match=r"cut in the middle.*1 of the instants asked for lie behind the break"):
        next(found)


def test_a_damaged_archive_is_told(knowledge: CausalKnowledge, lines: list[Line], tmp_path: Path) -> None:
    packed = gzip.compress(write_lines(tmp_path / "whole.jsonl", lines[:40]).read_bytes())
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(packed[: len(packed) // 2])
    found = answered(knowledge, [cut])
    assert START < parse_instant(orjson.loads(next(found))["at"]) < START + 95 * SECOND
    with pytest.raises(BrokenRecordingError, match=r"cut\.jsonl\.gz"):
        next(found)


def test_folders_are_searched_for_what_holds_otlp(tmp_path: Path) -> None:
    inner = tmp_path / "day" / "one"
    inner.mkdir(parents=True)
    traces = write_lines(inner / "traces.jsonl", shop_lines(5))
    (inner / "labels.json").write_text('[{"note": "not telemetry"}]')
    (inner / "notes.txt").write_text("nothing")
    packed = inner / "more.gz"
    packed.write_bytes(gzip.compress(traces.read_bytes()))
    assert recordings_in([tmp_path, traces]) == ([packed, traces], [inner / "labels.json", inner / "notes.txt"])


@pytest.mark.parametrize(("name", "told"), [("missing", "does not exist"), ("empty", "holds no OTLP file")])
def test_paths_without_a_recording_are_refused(name: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingNotFoundError, match=told):
        recordings_in([tmp_path / name])


def _until(line: Line, instant: int) -> Line | None:
    (resource,) = line["resourceSpans"]
    spans = [span for span in resource["scopeSpans"][0]["spans"] if int(span["endTimeUnixNano"]) <= instant]
    return {"resourceSpans": [{**resource, "scopeSpans": [{"spans": spans}]}]} if spans else None
