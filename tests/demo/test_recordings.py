"""A seed gives the same telemetry to the byte, and a recording says the same in both of its forms."""

from __future__ import annotations

import base64
import gzip
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from google.protobuf.json_format import ParseDict

from demo.estate import Pace, Run, run
from demo.export import Recording, json_line
from demo.faults import fault_named
from ingest.otlp.files import read_recording
from tests.demo.living import live

PLAN = Run(seed=3, start=1_767_600_000, seconds=12.0, fault=fault_named("bad_deploy"), inject_at=4.0)


def recorded(path: Path, plan: Run = PLAN) -> tuple[bytes, list[dict[str, Any]]]:
    """The recording of a run, and what the run reported."""
    reported: list[dict[str, Any]] = []
    sink = Recording(path)
    run(plan, sink, reported.append, Pace())
    sink.close()
    return path.read_bytes(), reported


@pytest.mark.parametrize("name", ["run.pb", "run.jsonl", "run.pb.gz"])
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / "again").mkdir()
    first, reported = recorded(tmp_path / name)
    second, again = recorded(tmp_path / "again" / name)
    if name.endswith(".gz"):  # its header holds the file's name
        first, second = gzip.decompress(first), gzip.decompress(second)
    assert first == second
    assert reported == again


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    first, _ = recorded(tmp_path / "a.pb")
    second, _ = recorded(tmp_path / "b.pb", Run(seed=4, start=PLAN.start, seconds=12.0))
    assert first != second


def test_a_fault_leaves_what_came_before_as_it_was() -> None:
    quiet, broken = live(20.0, seed=5), live(20.0, seed=5, fault="slow_deploy", inject_at=15.0)
    before = [request for at, request in quiet.requests if at <= 15.0]
    assert [request for at, request in broken.requests if at <= 15.0] == before


def test_an_otlp_json_line_says_what_the_message_says() -> None:
    def with_base64(value: Any) -> Any:
        if isinstance(value, dict):
            ids = {"traceId", "spanId", "parentSpanId"}
            return {key: base64.b64encode(bytes.fromhex(each)).decode() if key in ids else with_base64(each) for key, each in value.items()}
        return [with_base64(each) for each in value] if isinstance(value, list) else value

    sent = [request for _, request in live(12.0).requests]
    assert len({type(request) for request in sent}) == 3
    for request in sent:
        assert ParseDict(with_base64(orjson.loads(json_line(request))), type(request)()) == request


def test_both_forms_of_a_recording_decode_to_the_same(tmp_path: Path) -> None:
    recorded(tmp_path / "run.pb")
    recorded(tmp_path / "run.jsonl.gz")
    pairs = zip(read_recording([tmp_path / "run.pb"]), read_recording([tmp_path / "run.jsonl.gz"]), strict=True)
    for binary, text in pairs:
        assert type(binary) is type(text)
        for field in fields(binary):
            assert _same(getattr(binary, field.name), getattr(text, field.name)), field.name


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)


def test_a_run_tells_when_it_broke_what() -> None:
    class Nowhere:
        def send(self, requests: object) -> None:
            pass

        def close(self) -> None:
            pass

    reported: list[dict[str, Any]] = []
    slept: list[float] = []
    run(PLAN, Nowhere(), reported.append, Pace(2.0), sleep=slept.append, clock=lambda: sum(slept))
    events = [each["event"] for each in reported]
    assert (events[0], events[-1], events.count("injected")) == ("started", "ended", 1)
    injected = next(each for each in reported if each["event"] == "injected")
    assert injected["at"] == (PLAN.start + 4) * 1_000_000_000
    assert injected["defect"] == "code_regression"
    assert sum(slept) == pytest.approx(PLAN.seconds / 2.0)
