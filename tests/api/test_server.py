"""The process: OTLP in and answers out on free ports, what was durable survives kill -9, every trouble is one line and exit code 2."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

import api.server
from api.cli import main
from api.client import WhenceClient
from ingest.otlp.json import traces_of
from tests.api.recordings import Line, shop_lines

LONG = 120.0
COMMAND = [sys.executable, "-c", "from api.cli import main; raise SystemExit(main())"]


@dataclass
class Running:
    """A `whence serve` of its own process."""

    process: subprocess.Popen[str]
    doors: dict[str, Any]

    def stop(self, number: signal.Signals) -> tuple[int, float]:
        """Exit code and seconds until it ended."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(LONG), time.monotonic() - began


@contextlib.contextmanager
def serving(data: Path, *flags: str) -> Iterator[Running]:
    command = [*COMMAND, "serve", "--data-dir", str(data), "--http", ":0", "--otlp-grpc", ":0", "--otlp-http", ":0", "--json", *flags]
    with (data.parent / "stderr.txt").open("a") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (data.parent / "stderr.txt").read_text()
            yield Running(process, json.loads(line))
        finally:
            process.kill()


def send(address: str, lines: list[Line]) -> None:
    with grpc.insecure_channel(address) as channel:
        export = TraceServiceStub(channel).Export  # type: ignore[no-untyped-call]  # generated code
        for line in lines:
            assert not export(traces_of(line)).partial_success.rejected_spans


def answered(capsysbinary: pytest.CaptureFixture[bytes], *command: str) -> Any:
    assert main([*command, "--json"]) == 0
    return orjson.loads(capsysbinary.readouterr().out)


@pytest.mark.slow
def test_otlp_in_answers_out_and_what_was_durable_survives_a_kill(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    data = tmp_path / "data"
    with serving(data) as whence:
        send(whence.doors["otlp_grpc"], shop_lines(420, slow_from=330, rate=2))
        server = whence.doors["http"]
        estate = answered(capsysbinary, "topology", "--server", server)
        assert {"service:c/shop/cart", "service:c/shop/checkout", "database:c/shop/items-db/items"} <= {entity["id"] for entity in estate["entities"]}
        causes = answered(capsysbinary, "causes", "--server", server)
        assert causes["root_causes"][0]["entity"] == "database:c/shop/items-db/items"
        assert answered(capsysbinary, "incidents", "--server", server)
        with WhenceClient(server) as client:
            status = client.status()
        assert status.durable_through == status.at
        whence.process.kill()
        whence.process.wait(LONG)
    with serving(data) as whence:
        again = answered(capsysbinary, "topology", "--server", whence.doors["http"])
        assert {entity["id"] for entity in again["entities"]} == {entity["id"] for entity in estate["entities"]}
        keys = ("source", "kind", "target")
        assert {tuple(each[key] for key in keys) for each in again["relations"]} == {tuple(each[key] for key in keys) for each in estate["relations"]}
        with WhenceClient(whence.doors["http"]) as client:
            assert client.status().open_incidents >= 1
        code, seconds = whence.stop(signal.SIGINT)
        assert code == 0
        # Three seconds is the promise; this machine may be busy.
        assert seconds < 15
    assert "Traceback" not in (tmp_path / "stderr.txt").read_text()


@pytest.mark.slow
def test_a_second_whence_on_the_same_store_is_refused_and_sigterm_ends_the_first(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as whence:
        command = [*COMMAND, "serve", "--data-dir", str(data), "--http", ":0", "--otlp-grpc", ":0", "--otlp-http", ":0"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
        assert second.returncode == 2
        assert second.stdout == ""
        assert f"is in use by another whence (pid {whence.process.pid})" in second.stderr.splitlines()[-1]
        assert whence.stop(signal.SIGTERM)[0] == 0


@pytest.fixture
def unprepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither compiles nor changes this process's logging."""
    monkeypatch.setattr(api.server, "prepare", lambda tell: tell("nothing"))
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


def refused(capsys: pytest.CaptureFixture[str], data: Path, *flags: str) -> str:
    defaults = ["--data-dir", str(data), "--http", ":0", "--otlp-grpc", ":0", "--otlp-http", ":0"]
    assert main(["serve", *defaults, *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err.splitlines()[-1]


@pytest.mark.usefixtures("unprepared")
@pytest.mark.parametrize(("door", "called"), [("--http", "GraphQL"), ("--otlp-grpc", "OTLP/gRPC"), ("--otlp-http", "OTLP/HTTP")])
def test_a_port_in_use_is_one_line_and_leaves_nothing_open(door: str, called: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = refused(capsys, tmp_path / "data", door, f"127.0.0.1:{port}")
    assert told == f"whence: 127.0.0.1:{port} is in use by another process, so {called} can't listen there: stop that process or choose another address."
    assert not (tmp_path / "data").exists()


@pytest.mark.usefixtures("unprepared")
def test_a_store_that_can_not_be_opened_leaves_no_port_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = refused(capsys, tmp_path / "file" / "data", "--http", f"127.0.0.1:{port}")
    assert "can't be opened" in told
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


@pytest.mark.usefixtures("unprepared")
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--store", "oracle://x"], "No store answers to oracle://…: use sqlite"),
        (["--http", "nonsense"], "--http: 'nonsense' is no address"),
        (["--http", "no.such.host.invalid:0"], "is no address to listen on"),
        (["--config", "/nowhere.toml"], "The settings file /nowhere.toml can't be read"),
        (["--knowledge", "/nowhere"], "/nowhere: no rule files"),
        (["--log-level", "loud"], "--log-level: Input should be"),
    ],
)
def test_what_can_not_be_used_is_told_in_one_line(flags: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in refused(capsys, tmp_path / "data", *flags)


@pytest.mark.usefixtures("unprepared")
def test_a_broken_rule_file_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "node.yaml").write_text("kind: node\nconditons: {}\n")
    assert "node.yaml:2" in refused(capsys, tmp_path / "data", "--knowledge", str(tmp_path))


def test_the_command_line_answers_help_without_what_serving_needs() -> None:
    code = "import sys; from api.cli import main; main(['--help']); print([name for name in ('numpy', 'grpc', 'fastapi', 'numba') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=True, env={**os.environ, "COLUMNS": "80"})
    assert done.stdout.splitlines()[-1] == "[]"
