"""kill -9 of a real server, a gap in the telemetry, and what the next process makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.client import WhenceClient
from api.client_verdicts import Diagnosis
from tests.api.recordings import SECOND, START, Line, shop_lines
from tests.api.test_server import LONG, send, serving

LINES_A_BLOCK, BLOCK = 2, 5


def instant(diagnosis: Diagnosis) -> int:
    assert diagnosis.at is not None
    return diagnosis.at


def between(lines: list[Line], first: int, last: int) -> list[Line]:
    """Of these seconds after the start."""
    return lines[first // BLOCK * LINES_A_BLOCK : last // BLOCK * LINES_A_BLOCK]


def cut_short(lines: list[Line]) -> list[Line]:
    """The first block as a server sees it that comes up in its middle."""
    for line in lines[:LINES_A_BLOCK]:
        spans = line["resourceSpans"][0]["scopeSpans"][0]["spans"]
        spans[:] = spans[len(spans) // 2 // LINES_A_BLOCK * LINES_A_BLOCK :]
    return lines


@pytest.mark.slow
def test_after_a_kill_what_was_open_stays_open_and_the_gap_opens_nothing(tmp_path: Path) -> None:
    lines = shop_lines(580, slow_from=330, rate=2)
    with serving(tmp_path / "data") as whence:
        send(whence.doors["otlp_grpc"], between(lines, 0, 420))
        with WhenceClient(whence.doors["http"]) as client:
            before, incidents = client.diagnosis(), client.incidents()
        whence.process.kill()
        whence.process.wait(LONG)
    assert [incident.state for incident in incidents] == ["OPEN"]
    with serving(tmp_path / "data") as whence, WhenceClient(whence.doors["http"]) as client:
        first = client.diagnosis()
        assert 0 <= instant(before) - instant(first) <= 60 * SECOND
        assert first.root_causes[0].entity == before.root_causes[0].entity
        assert client.incidents() == incidents
        send(whence.doors["otlp_grpc"], cut_short(between(lines, 450, 540)))
        assert instant(client.diagnosis()) >= START + 525 * SECOND
        assert [(each.id, each.state) for each in client.incidents()] == [(each.id, "OPEN") for each in incidents]
    assert "Traceback" not in (tmp_path / "stderr.txt").read_text()


@pytest.mark.slow
def test_after_a_kill_a_healthy_estate_is_still_healthy_and_stays_so(tmp_path: Path) -> None:
    lines = shop_lines(580, rate=2)
    with serving(tmp_path / "data") as whence:
        send(whence.doors["otlp_grpc"], between(lines, 0, 420))
        whence.process.kill()
        whence.process.wait(LONG)
    with serving(tmp_path / "data") as whence, WhenceClient(whence.doors["http"]) as client:
        assert instant(client.diagnosis()) >= START + 355 * SECOND
        send(whence.doors["otlp_grpc"], cut_short(between(lines, 450, 540)))
        assert client.incidents() == ()
        assert all(cause.probability < 0.2 for cause in client.diagnosis().root_causes)
