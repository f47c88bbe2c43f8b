"""whence export: a file of what a server or a recording reasons with, and one line on what is in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from api.cli import main
from api.client import QueryRefusedError, WhenceClient
from api.http import build_application
from tests.api import synthetic_estate
from tests.api.recordings import shop_lines, write_lines

LONG = 120.0


def module(path: Path) -> dict[str, Any]:
    """Without running it: pgmpy takes seconds to import."""
    text = path.read_text(encoding="utf-8")
    space: dict[str, Any] = {}
    exec(compile(text[text.index("ABOUT = ") : text.index("def network")], str(path), "exec"), space)
    return space


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("shop") / "traces.jsonl", shop_lines(420, slow_from=330, rate=2))


def test_a_recording_is_exported_as_it_was_at_an_instant(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--pgmpy", str(tmp_path / "net.py"), "--bif", str(tmp_path / "net.bif")]
    assert main(["export", str(recording), *files, "--root", "items-db/items", "--depth", "2"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "variables" in captured.err
    late = module(tmp_path / "net.py")
    assert "database:c/shop/items-db/items.latency_high (finding)" in late["EVIDENCE"]
    assert {name.partition(":")[0] for name in late["FAMILIES"]} >= {"database", "service"}
    assert (tmp_path / "net.bif").read_text().count("variable n") == len(late["FAMILIES"])
    early = tmp_path / "early.py"
    assert main(["export", str(recording), "--pgmpy", str(early), "--at", "2026-02-25T06:18:00Z"]) == 0
    assert module(early)["EVIDENCE"] != late["EVIDENCE"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["export"], 2, "Say what to write"),
        (["export", "--bif", "x", "--at", "2026-02-25T06:18:00Z"], 2, "need a recording"),
        (["export", "/nowhere", "--bif", "x"], 2, "/nowhere does not exist"),
        (["export", "RECORDING", "--bif", "/nowhere/x"], 2, "/nowhere/x can't be written"),
        (["export", "RECORDING", "--bif", "x", "--root", "nobody"], 1, "No entities are called 'nobody'"),
        (["export", "RECORDING", "--bif", "x", "--root", "service:c/shop/nobody"], 2, "There is no entity service:c/shop/nobody"),
        (["export", "--bif", "x", "--server", "http://127.0.0.1:9"], 2, "No Whence answers"),
    ],
)
def test_what_can_not_be_exported_is_told_in_one_line(
    arguments: list[str], code: int, told: str, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(recording) if each == "RECORDING" else each for each in arguments]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


async def test_a_server_gives_the_network_around_an_entity() -> None:
    runtime = await synthetic_estate.runtime()
    http = TestClient(build_application(runtime))

    def through(request: httpx.Request) -> httpx.Response:
        answer = http.get(request.url.raw_path.decode())
        return httpx.Response(answer.status_code, content=answer.content)

    client = WhenceClient("http://whence", transport=httpx.MockTransport(through))
    whole, part = client.network(), client.network(str(synthetic_estate.SHOP))
    assert whole["left_out"] == 0
    assert part["left_out"] > 0
    assert len(part["names"]) < len(whole["names"])
    assert all(len(part[each]) == len(part["names"]) for each in ("leak", "evidence"))
    with pytest.raises(QueryRefusedError, match="There is no entity service:c1/web/nobody") as refused:
        client.network("service:c1/web/nobody")
    assert refused.value.codes == ("NOT_FOUND",)
    with pytest.raises(QueryRefusedError, match="does not name an entity"):
        client.network("nobody")
    await runtime.stop()


@pytest.mark.slow
def test_bif_needs_no_pgmpy(recording: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['pgmpy'] = None; from api.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "export", str(recording), "--bif", str(tmp_path / "net.bif"), "--pgmpy", str(tmp_path / "net.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "net.bif").read_text().startswith("// A causal network of Whence")
